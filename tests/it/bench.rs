//! Each bench with tiny sizes: it works, and its JSON has the promised shape. Their figures say
//! nothing here, so none is held against a limit.

use std::collections::BTreeMap;

use serde_json::Value;
use vz_sync::simulator::{self, SimulatorOptions};

use crate::support::binary::{Binary, Scratch};
use crate::support::postgres::TestDatabase;

/// Runs `vz-sync bench` with these arguments and reads its JSON.
async fn bench(args: &[&str]) -> Value {
    let scratch = Scratch::new();
    let mut all = vec!["bench"];
    all.extend_from_slice(args);
    all.push("--json");
    let log = scratch.path().join("log");
    let none = BTreeMap::new();
    let (status, output) = Binary::run(&all, &none, &log, "").await;
    let logged = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{args:?}: {status}\n{output}\n{logged}");
    let found: Value = serde_json::from_str(&output).expect("JSON and nothing else");
    assert!(found["machine"]["cores"].as_u64() > Some(0), "{found:#}");
    found
}

/// Beside which a bench makes its own: nothing in it is touched.
async fn beside() -> (TestDatabase, String) {
    let database = TestDatabase::empty().await;
    let url = database.url();
    (database, url)
}

fn positive(found: &Value, pointers: &[&str]) {
    for pointer in pointers {
        let figure = found.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer} in {found:#}");
    }
}

const PHASE: [&str; 7] = [
    "/wall_s",
    "/cpu_s",
    "/postgres_cpu_s",
    "/peak_rss_mb",
    "/rows_written",
    "/wal_bytes",
    "/items",
];

#[tokio::test]
async fn sync_measures_four_phases() {
    let (database, url) = beside().await;
    let sizes = ["--teams", "5", "--envs", "4", "--nodes", "2", "--runs", "1"];
    let found = bench(&[&["sync", "--database-url", &url], &sizes[..]].concat()).await;
    let phases = found["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    assert_eq!(names, ["first", "unchanged", "changed", "delta"]);
    for phase in phases {
        positive(phase, &PHASE);
        assert_eq!(phase["counts"]["jobs"], 5, "{phase:#}");
    }
    let count = |phase: usize, what: &str| phases[phase]["counts"][what].as_i64();
    assert_eq!((count(0, "inserted"), phases[0]["items"].as_i64()), (Some(60), Some(60)));
    assert_eq!(
        (count(1, "inserted"), count(1, "updated"), count(1, "unchanged")),
        (Some(0), Some(0), Some(60))
    );
    // One environment renamed, one node changed, one environment gone with its two nodes.
    assert_eq!(count(2, "stale"), Some(3));
    assert!(count(2, "updated") > Some(0), "{:#}", phases[2]);
    assert_eq!(count(3, "full_runs"), Some(0), "{:#}", phases[3]);
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(1));

    let pid = found["machine"]["pid"].as_u64().expect("the bench's process");
    let left = "select count(*) from pg_database where datname like $1";
    let sql = database.client().await;
    let left = sql.query_one(left, &[&format!("vz_sync_bench_{pid}_%")]).await.expect("count");
    assert_eq!(left.get::<_, i64>(0), 0, "scratch databases are dropped");
}

#[tokio::test]
async fn own_server_bench_needs_nothing_and_leaves_nothing() {
    let found = bench(&["--teams", "1", "--envs", "3", "--nodes", "1", "--runs", "1"]).await;
    positive(&found, &["/phases/0/postgres_cpu_s", "/phases/3/wal_bytes"]);
    let pid = found["machine"]["pid"].as_u64().expect("the bench's process");
    let dir = std::env::temp_dir().join(format!("vz-sync-bench-{pid}"));
    assert!(!dir.exists(), "{} is left", dir.display());
}

#[tokio::test]
async fn pipeline_runs_over_any_platform_and_database_and_keeps_the_rows() {
    let simulator = simulator::start(SimulatorOptions::uniform(3, 4, 1)).await.expect("it starts");
    let (database, url) = beside().await;
    let platform = simulator.base_url();
    let arguments = ["pipeline", "--platform-url", &platform, "--database-url", &url];
    let found =
        bench(&[&arguments[..], &["--teams", "3", "--token-template", "t{:06}"]].concat()).await;
    let phases = found["phases"].as_array().expect("phases");
    assert_eq!(phases.len(), 1);
    positive(&phases[0], &PHASE);
    assert_eq!(phases[0]["items"], 24);
    assert_eq!(found["parameters"]["first_token"], 1, "the simulator counts from 1");
    let count = "select count(*) from environments";
    let rows: i64 = database.client().await.query_one(count, &[]).await.expect("count").get(0);
    assert_eq!(rows, 12);

    // A database that somebody uses is left alone.
    let rename = "update teams set name = 'Customer' where id = 2";
    database.client().await.batch_execute(rename).await.expect("rename");
    let words = ["bench", "pipeline", "--platform-url", &platform, "--database-url", &url];
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let all = [&words[..], &["--teams", "3"]].concat();
    let (status, _) = Binary::run(&all, &BTreeMap::new(), &log, "").await;
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(!status.success() && logged.contains("not the bench's"), "{logged}");
    simulator.shutdown().await;
}

#[tokio::test]
async fn pickup_measures_each_trigger() {
    let (_database, url) = beside().await;
    let found = bench(&[
        "pickup",
        "--triggers",
        "4",
        "--teams",
        "2",
        "--rest-ms",
        "0",
        "--database-url",
        &url,
    ])
    .await;
    assert_eq!(found["latency"]["count"], 4);
    positive(&found, &["/latency/p50_ms", "/latency/p99_ms", "/latency/max_ms"]);
}

#[tokio::test]
async fn dispatch_counts_jobs_that_had_nothing_to_do() {
    let (_database, url) = beside().await;
    let found = bench(&["dispatch", "--jobs", "50", "--runs", "1", "--database-url", &url]).await;
    positive(&found, &["/jobs_per_s", "/cpu_s", "/postgres_cpu_s"]);
    let rows = &found["runs"][0]["rows_by_table"];
    assert!(rows.get("sync_outbox").is_none(), "no event: {found:#}");
}

#[tokio::test]
async fn claim_reads_the_partial_indexes() {
    let (_database, url) = beside().await;
    let sizes = ["--states", "3000", "--due", "50", "--rounds", "3"];
    let found = bench(&[&["claim", "--database-url", &url], &sizes[..]].concat()).await;
    positive(&found, &["/latency/p50_ms", "/latency/p99_ms"]);
    let indexes: Vec<_> = found["scans"]
        .as_array()
        .expect("scans")
        .iter()
        .filter_map(|scan| scan["index"].as_str().filter(|name| !name.is_empty()))
        .collect();
    assert_eq!(indexes, ["vz_sync_states_requested", "vz_sync_states_scheduled"]);
}

#[tokio::test]
async fn sse_delivers_every_event_to_every_listener() {
    let (_database, url) = beside().await;
    let sizes = ["--clients", "6", "--teams", "2", "--rate", "50", "--seconds", "0.2"];
    let found = bench(&[&["sse", "--database-url", &url], &sizes[..]].concat()).await;
    // Each team has half of the listeners and, give or take one, half of the events.
    assert_eq!(found["delivered"], found["expected"], "{found:#}");
    positive(
        &found,
        &["/delivered", "/latency/p99_ms", "/event_bytes", "/kib_per_client", "/delivered_per_s"],
    );
    assert_eq!(found["cut_off"], 0);
}

#[tokio::test]
async fn reads_are_answered_whole_unmodified_and_while_syncing() {
    let (_database, url) = beside().await;
    let sizes =
        ["--envs", "60", "--nodes", "1", "--page", "20", "--rate", "100", "--seconds", "0.2"];
    let found =
        bench(&[&["reads", "--while-syncing", "--database-url", &url], &sizes[..]].concat()).await;
    let passes = found["reads"].as_array().expect("passes");
    let names: Vec<_> = passes.iter().filter_map(|pass| pass["name"].as_str()).collect();
    assert_eq!(names, ["200", "304", "200 while syncing"]);
    for pass in passes {
        assert_eq!(pass["latency"]["count"], 20, "{pass:#}");
        positive(pass, &["/latency/p99_ms", "/per_s"]);
    }
    assert_eq!(passes[0]["not_modified"], 0);
    assert_eq!(passes[1]["not_modified"], 20);
}

#[tokio::test]
async fn platform_reads_the_simulator() {
    let sizes = ["--teams", "2", "--envs", "2", "--nodes", "1", "--seconds", "0.1"];
    let found = bench(&[&["platform"], &sizes[..]].concat()).await;
    positive(&found, &["/mb_per_s", "/requests_per_s", "/bytes"]);
}
