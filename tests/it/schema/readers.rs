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

/// A removed team's rows stay for a month; nobody who reads the views sees them.
#[tokio::test]
async fn a_removed_team_is_in_no_view() {
    const OTHERS: &str = "
        INSERT INTO vz_sync_data_types (team_id, data_type, scope, verified_at, verified_by)
        SELECT 1, d, CASE d WHEN 'nodes' THEN 'environments' ELSE d END, now(), 'full'
        FROM unnest(ARRAY['nodes', 'archived_sites', 'job_logs']) d;
        INSERT INTO nodes (team_id, id, environment_id, env_name, status, payload, source_version, fence, synced_at, first_seen_at)
        VALUES (1, '7', 'fine', 'fine', 1, '{}', sha256('x'), 1, now(), now());
        INSERT INTO archived_sites (team_id, id, env_name, status, owner_uid, archived_at, reason, payload, source_version, fence, synced_at, first_seen_at)
        VALUES (1, 'old', 'old', 1, 7, now(), 'deleted', '{}', sha256('x'), 1, now(), now());
        INSERT INTO job_logs (team_id, id, action, payload, source_version, fence, synced_at, first_seen_at)
        VALUES (1, '1', 'StartEnv', '{}', sha256('x'), 1, now(), now())";
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    client.batch_execute(ROWS).await.unwrap();
    client.batch_execute(OTHERS).await.unwrap();
    for removed in [false, true] {
        for view in
            ["environments_v1", "nodes_v1", "archived_sites_v1", "job_logs_v1", "sync_status_v1"]
        {
            let count = format!("SELECT count(*) FROM vz_api.{view} WHERE team_id = 1");
            let rows: i64 = client.query_one(&count, &[]).await.unwrap().get(0);
            assert_eq!(rows == 0, removed, "{view}: {rows} rows, removed: {removed}");
        }
        client.batch_execute("UPDATE teams SET deleted_at = now()").await.unwrap();
    }
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
