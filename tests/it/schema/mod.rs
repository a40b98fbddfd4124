//! The schema: its way up and down, its documentation, and the statements it was shaped for.

mod catalog;
mod claim;
mod diagram;
mod lease;
mod migrations;
mod plans;
mod readers;

use serde_json::Value;
use tokio_postgres::Client;

/// (table, kind, rows read) of every scan of a table in a plan that was carried out.
fn scans(node: &Value, found: &mut Vec<(String, String, f64)>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    if let (Some(table), true) = (node["Relation Name"].as_str(), kind.ends_with("Scan")) {
        let number = |key: &str| node[key].as_f64().unwrap_or_default();
        let rows =
            (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        found.push((table.to_owned(), kind.to_owned(), rows));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        scans(child, found);
    }
}

/// Two platforms and `teams` teams with three states each, all due at once, pipeline on.
async fn seed(client: &Client, teams: i64) {
    client
        .batch_execute(
            "INSERT INTO vz_platforms (base_url) VALUES ('https://a.example'), ('https://b.example');
             UPDATE rollout SET enabled = true",
        )
        .await
        .unwrap();
    for statement in [
        "INSERT INTO teams (id, name, platform_id) SELECT n, 'team ' || n, 1 + n % 2 FROM generate_series(1, $1::int8) n",
        "INSERT INTO team_settings (team_id) SELECT n FROM generate_series(1, $1::int8) n",
        "INSERT INTO team_credentials (team_id, sealed, key_id) SELECT n, '', 'k' FROM generate_series(1, $1::int8) n",
        "INSERT INTO vz_sync_states (team_id, scope, next_full_at, next_delta_at)
         SELECT n, scope, now() + interval '1 hour', now() - n * interval '1 ms'
         FROM generate_series(1, $1::int8) n, unnest(ARRAY['environments', 'archived_sites', 'job_logs']) scope",
    ] {
        client.execute(statement, &[&teams]).await.unwrap();
    }
}
