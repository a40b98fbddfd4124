//! Statements of every commit and every tidying: they read what they are about
//! and not the table around it.

use serde_json::Value;
use tokio_postgres::Client;

use super::{scans, seed};
use crate::support::postgres::TestDatabase;

const TOUCH: &str = include_str!("../../../src/adapters/postgres/sql/touch_data_type.sql");
const OLD: &str = include_str!("../../../src/adapters/postgres/sql/upkeep_old.sql");
const PURGE: &str = include_str!("../../../src/adapters/postgres/sql/purge_job_logs.sql");

/// Two teams with so many actions each, most of them young.
async fn with_history(client: &Client) {
    seed(client, 2).await;
    let fill = "
        INSERT INTO vz_sync_data_types (team_id, data_type, scope)
        SELECT t, d, CASE d WHEN 'nodes' THEN 'environments' ELSE d END
        FROM generate_series(1, 2) t, unnest(ARRAY['environments', 'nodes', 'archived_sites', 'job_logs']) d;
        INSERT INTO job_logs (team_id, id, action, started_at, payload, source_version, fence, synced_at, first_seen_at)
        SELECT t, n, 'StartEnv', CASE WHEN n % 100 > 0 THEN now() - n * interval '1 min' END, '{}', sha256('x'), 1, now(), now()
        FROM generate_series(1, 2) t, generate_series(1, 20000) n;
        INSERT INTO job_logs (team_id, id, action, started_at, payload, source_version, fence, synced_at, first_seen_at)
        SELECT t, 'old' || n, 'StartEnv', CASE WHEN n > 1 THEN now() - interval '99 days' END, '{}', sha256('x'), 1, now(),
               now() - interval '99 days'
        FROM generate_series(1, 2) t, generate_series(1, 3) n;
        INSERT INTO environments (team_id, id, env_name, status, owner_uid, payload, source_version, fence, synced_at, first_seen_at, needs_validation)
        SELECT t, n, n, 1, 7, '{}', sha256('x'), 1, now(), now(), n = 7 FROM generate_series(1, 2) t, generate_series(1, 20000) n";
    client.batch_execute(fill).await.unwrap();
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
}

/// Carries a statement out as the service does, and answers the rows read of a table.
async fn rows_read(client: &Client, statement: &str, arguments: &str, table: &str) -> f64 {
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {statement}");
    client.batch_execute(&prepare).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE it ({arguments})");
    let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
    client.batch_execute("DEALLOCATE it").await.unwrap();
    let mut found = Vec::new();
    scans(&plan[0]["Plan"], &mut found);
    let of_table: Vec<_> = found.iter().filter(|(name, ..)| name == table).collect();
    assert!(!of_table.is_empty(), "{table} is looked at: {plan:#}");
    of_table.iter().map(|(_, _, rows)| rows).sum()
}

#[tokio::test]
async fn a_commit_counts_doubts_without_reading_the_rows_beyond_doubt() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    with_history(&client).await;
    let doubts = [
        ("job_logs", "job_logs", "needs_validation"),
        ("environments", "environments", "(missing_since IS NOT NULL OR needs_validation)"),
    ];
    for (table, scope, flagged) in doubts {
        let statement = TOUCH.replace("{table}", table).replace("{flagged}", flagged);
        // Rows were written, and none is to be counted anew.
        let arguments = format!(
            "1, '{table}', '{scope}', now(), 'delta', false, 5, true, NULL, NULL, false, 3"
        );
        let read = rows_read(&client, &statement, &arguments, table).await;
        assert!(read <= 10.0, "{table}: {read} rows were read");
    }
    let flagged = "SELECT rows_flagged FROM vz_sync_data_types WHERE team_id = 1 AND data_type = 'environments'";
    assert_eq!(client.query_one(flagged, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn old_actions_are_found_without_reading_the_young_ones() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    with_history(&client).await;
    let read = rows_read(&client, PURGE, &format!("{}, 1000", 90 * 86_400), "job_logs").await;
    // Those without a time of their own are looked at one by one: 200 a team.
    assert!(read <= 500.0, "{read} rows were read");
    let left = "SELECT count(*) FROM job_logs WHERE id LIKE 'old%'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0, "all six went");
    let all: i64 = client.query_one("SELECT count(*) FROM job_logs", &[]).await.unwrap().get(0);
    assert_eq!(all, 40_000, "and no other");
}

/// Trimming a month finds what goes without a look at what stays.
#[tokio::test]
async fn old_changes_are_found_by_their_age() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    let fill = "
        INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, job_id, found_at)
        SELECT 1, n, 1, 'nodes', 'x', 'added', 1, now() - CASE WHEN n < 4 THEN 45 ELSE 40 END * interval '1 day'
        FROM generate_series(1, 20000) n";
    client.batch_execute(fill).await.unwrap();
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    let statement =
        OLD.replace("{table}", "resource_changes_default").replace("{column}", "found_at");
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {statement}");
    client.batch_execute(&prepare).await.unwrap();
    let explain =
        format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE it (1000, {})", 42 * 86_400);
    let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
    let found = format!("{plan:#}");
    assert!(found.contains("\"Index Name\": \"resource_changes_default_found_at_idx\""), "{found}");
    let left = "SELECT count(*) FROM resource_changes";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 19_997);
}
