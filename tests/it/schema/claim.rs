//! The due claim: what it takes, what it leaves, and that it never scans the table.

use super::seed;
use crate::support::postgres::TestDatabase;
use tokio_postgres::Client;

const CLAIM: &str = include_str!("../../../src/adapters/postgres/sql/claim_due.sql");

/// Claims and returns (team, scope, class), in the order of the answer.
async fn claim(client: &Client, batch: i64) -> Vec<(i64, String, i16)> {
    let rows = client.query(CLAIM, &[&batch, &60.0_f64]).await.unwrap();
    rows.iter().map(|row| (row.get("team_id"), row.get("scope"), row.get("class"))).collect()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn a_claim_of_a_thousand_among_a_hundred_thousand_uses_the_indexes() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 33_334).await;
    run(&client, "ANALYZE").await;
    let generic = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE claim (int8, float8) AS {CLAIM}"
    );
    run(&client, &generic).await;
    look_at_plan(&client).await;

    // Nearly all at rest, as on a good day: a thousand due of a hundred thousand.
    run(
        &client,
        "UPDATE vz_sync_states
         SET next_delta_at = CASE WHEN team_id % 33 = 0 AND scope = 'environments' AND team_id <= 33000
                                  THEN now() - interval '1 s' ELSE now() + interval '1 h' END,
             dispatched_at = NULL, redispatch_at = NULL",
    )
    .await;
    run(&client, "VACUUM ANALYZE vz_sync_states").await;
    look_at_plan(&client).await;
}

/// Claims a thousand by a plan that reads nothing but the two partial indexes.
async fn look_at_plan(client: &Client) {
    let explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim (1000, 60)";
    let plan: serde_json::Value = client.query_one(explain, &[]).await.unwrap().get(0);
    let mut scans = Vec::new();
    collect(&plan[0]["Plan"], &mut scans);
    let states: Vec<_> = scans.iter().filter(|(table, ..)| table == "vz_sync_states").collect();
    let kinds: Vec<_> = states.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["Index Scan", "Index Scan", "Tid Scan", "Tid Scan"], "{plan:#}");
    let read: f64 = states.iter().map(|(_, _, rows)| rows).sum();
    assert!(
        read <= 4_000.0,
        "1,000 per platform and index, then the 1,000 claimed twice by address; read {read}"
    );
    assert_eq!(plan[0]["Plan"]["Actual Rows"].as_f64(), Some(1000.0));
}

/// (table, kind, rows read) of every scan of a table.
fn collect(node: &serde_json::Value, scans: &mut Vec<(String, String, f64)>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    if let (Some(table), true) = (node["Relation Name"].as_str(), kind.ends_with("Scan")) {
        let number = |key: &str| node[key].as_f64().unwrap_or_default();
        let rows =
            (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        scans.push((table.to_owned(), kind.to_owned(), rows));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, scans);
    }
}

#[tokio::test]
async fn concurrent_claimers_share_out_every_state_once() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 300).await;
    let mut claimers = Vec::new();
    for _ in 0..8 {
        claimers.push(database.client().await);
    }
    let mut all = Vec::new();
    loop {
        let rounds = futures_util::future::join_all(claimers.iter().map(|c| claim(c, 50))).await;
        let round: Vec<_> = rounds.into_iter().flatten().collect();
        if round.is_empty() {
            break;
        }
        all.extend(round);
    }
    assert_eq!(all.len(), 900);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 900);
    let queued = client
        .query_one("SELECT count(*) FROM vz_sync_jobs WHERE state = 'queued'", &[])
        .await
        .unwrap();
    assert_eq!(queued.get::<_, i64>(0), 900);
}

#[tokio::test]
async fn a_lost_claim_comes_back_with_the_same_job() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    assert_eq!(claim(&client, 10).await.len(), 3);
    assert_eq!(claim(&client, 10).await.len(), 0);
    run(&client, "UPDATE vz_sync_jobs SET published_at = now(); UPDATE vz_sync_states SET redispatch_at = now()").await;
    assert_eq!(claim(&client, 10).await.len(), 3);
    let jobs = client
        .query_one("SELECT count(*), count(published_at) FROM vz_sync_jobs", &[])
        .await
        .unwrap();
    assert_eq!((jobs.get::<_, i64>(0), jobs.get::<_, i64>(1)), (3, 0));
}

#[tokio::test]
async fn a_requested_run_passes_the_backlog() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 50).await;
    run(&client, "UPDATE vz_sync_states SET requested_at = now(), requested_class = 9 WHERE team_id = 1 AND scope = 'job_logs'").await;
    assert_eq!(claim(&client, 1).await, [(1, "job_logs".to_owned(), 9)]);
}

#[tokio::test]
async fn what_may_not_run_is_left_alone() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 2).await;
    // Each pair stops the claim and sets it free again.
    let brakes = [
        ("UPDATE rollout SET enabled = false", "UPDATE rollout SET enabled = true"),
        ("UPDATE rollout SET everyone = false", "UPDATE rollout SET percent = 100"),
        ("UPDATE team_settings SET paused_at = now()", "UPDATE team_settings SET paused_at = NULL"),
        ("UPDATE team_settings SET auth_failed_at = now()", "UPDATE team_settings SET auth_failed_at = NULL"),
        ("UPDATE vz_sync_states SET enabled = false", "UPDATE vz_sync_states SET enabled = true"),
        ("UPDATE vz_sync_states SET paused_at = now()", "UPDATE vz_sync_states SET paused_at = NULL"),
        ("UPDATE vz_sync_states SET not_before = now() + interval '1 h'", "UPDATE vz_sync_states SET not_before = now()"),
        (
            "UPDATE vz_sync_states SET next_delta_at = NULL, next_full_at = NULL",
            "UPDATE vz_sync_states SET next_delta_at = now() - interval '1 s'",
        ),
        (
            "UPDATE vz_sync_states SET lease_owner = gen_random_uuid(), lease_run = gen_random_uuid(), lease_job_id = 1,
                                       lease_until = now() + interval '1 h'",
            "UPDATE vz_sync_states SET lease_owner = NULL, lease_run = NULL, lease_job_id = NULL, lease_until = NULL",
        ),
        (
            "UPDATE vz_platforms SET circuit_state = 'open', open_until = now() + interval '1 h'",
            "UPDATE vz_platforms SET circuit_state = 'closed', open_until = NULL",
        ),
        (
            "DELETE FROM team_credentials",
            "INSERT INTO team_credentials (team_id, sealed, key_id) SELECT id, '', 'k' FROM teams",
        ),
    ];
    for (stop, go) in brakes {
        run(&client, stop).await;
        assert_eq!(claim(&client, 10).await, [], "after {stop}");
        run(&client, go).await;
        assert_eq!(claim(&client, 10).await.len(), 6, "after {go}");
        run(&client, "UPDATE vz_sync_states SET dispatched_at = NULL, redispatch_at = NULL").await;
    }
    // A circuit that may be probed lets a single state of its platform through.
    run(&client, "UPDATE vz_platforms SET circuit_state = 'open', open_until = now()").await;
    assert_eq!(claim(&client, 10).await.len(), 2);
}

#[tokio::test]
async fn rollout_lets_in_by_list_cohort_and_percentage() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1000).await;
    let inside = async || -> i64 {
        client
            .query_one("SELECT count(*) FROM team_settings WHERE in_rollout", &[])
            .await
            .unwrap()
            .get(0)
    };
    run(&client, "UPDATE rollout SET everyone = false, team_ids = '{3, 4}'").await;
    assert_eq!(inside().await, 2);
    run(&client, "UPDATE rollout SET cohorts = '{early}'; UPDATE team_settings SET cohorts = '{late,early}' WHERE team_id IN (4, 5)").await;
    assert_eq!(inside().await, 3);
    run(&client, "UPDATE rollout SET team_ids = '{}', cohorts = '{}', percent = 30").await;
    let third = inside().await;
    assert!((250..350).contains(&third), "{third} of 1000 at 30 %");
    let admitted: i64 = client
        .query_one("SELECT count(*) FROM vz_sync_states WHERE admitted", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(admitted, 3 * third);
}
