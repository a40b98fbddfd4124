//! The schema: its way up and down, its documentation, and the statements it was shaped for.

mod catalog;
mod claim;
mod diagram;
mod lease;
mod migrations;
mod readers;

use tokio_postgres::Client;

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
