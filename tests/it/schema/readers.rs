//! What SQL readers see: effective age, hex versions, and nothing but the views.

use super::seed;
use crate::support::postgres::TestDatabase;
use tokio_postgres::error::SqlState;
use vz_sync::adapters::postgres::migrate;

const ROWS: &str = "
    INSERT INTO vz_sync_data_types (team_id, data_type, scope, verified_at, verified_by)
    VALUES (1, 'environments', 'environments', now() - interval '1 min', 'full');
    INSERT INTO environments (team_id, id, env_name, status, owner_uid, payload, source_version, fence, synced_at, first_seen_at)
    SELECT 1, id, id, 1, 7, '{}', sha256('x'), 1, now() - interval '1 h', now() - interval '1 h'
    FROM unnest(ARRAY['fine', 'doubted', 'absent', 'gone']) id;
    UPDATE environments SET needs_validation = true WHERE id = 'doubted';
    UPDATE environments SET missing_since = now(), missing_reason = 'absent_once' WHERE id = 'absent';
    UPDATE environments SET stale = true, stale_since = now() WHERE id = 'gone'";

#[tokio::test]
async fn only_rows_beyond_doubt_share_the_verified_moment() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    client.batch_execute(ROWS).await.unwrap();
    let read = "SELECT id, freshness, max_allowed_staleness_seconds, length(source_version) FROM vz_api.environments_v1 ORDER BY id";
    let rows = client.query(read, &[]).await.unwrap();
    let seen: Vec<(String, String, i32, i32)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    let row = |id: &str, freshness: &str| (id.to_owned(), freshness.to_owned(), 900, 64);
    assert_eq!(
        seen,
        [
            row("absent", "stale"),
            row("doubted", "stale"),
            row("fine", "current"),
            row("gone", "stale")
        ]
    );

    // A team's own limit beats the default; the limit itself is already stale.
    client
        .execute("UPDATE vz_sync_data_types SET max_allowed_staleness_seconds = 60", &[])
        .await
        .unwrap();
    let fine = client
        .query_one("SELECT freshness FROM vz_api.environments_v1 WHERE id = 'fine'", &[])
        .await
        .unwrap();
    assert_eq!(fine.get::<_, String>(0), "stale");
    let status =
        client.query_one("SELECT status, freshness FROM vz_api.sync_status_v1", &[]).await.unwrap();
    assert_eq!((status.get::<_, &str>(0), status.get::<_, &str>(1)), ("idle", "stale"));
}

#[tokio::test]
async fn the_reader_role_reaches_the_views_and_no_table() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    client.batch_execute(ROWS).await.unwrap();
    migrate::create_reader(&client).await.unwrap();
    migrate::create_reader(&client).await.unwrap();
    client.batch_execute("SET ROLE vz_reader").await.unwrap();
    for view in
        ["environments_v1", "nodes_v1", "archived_sites_v1", "job_logs_v1", "sync_status_v1"]
    {
        client.query(&format!("SELECT * FROM vz_api.{view}"), &[]).await.unwrap();
    }
    for table in ["environments", "team_credentials", "vz_sync_states", "installation"] {
        let refused = client.query(&format!("SELECT * FROM {table}"), &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
    }
}
