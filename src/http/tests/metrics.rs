//! `/metrics` after a run: the names of the manual, with figures in them.

use super::world::{World, read, request};

#[tokio::test(start_paused = true)]
async fn a_run_leaves_its_figures() {
    let world = World::mirrored().await;
    world.api.metrics.watch("vz_sync_log_dropped_fields_total", "Fields left out.", || 7);
    let page = read(world.admin.clone(), request("GET", "/metrics", &[], "")).await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = page.json.as_str().unwrap().to_owned();
    for line in [
        "vz_sync_jobs_total{reason=\"full\",state=\"succeeded\"} ",
        "vz_sync_duration_seconds_count{scope=\"environments\"} ",
        "vz_sync_rows_total{change=\"inserted\",data_type=\"environments\"} 3",
        "vz_sync_rows_total{change=\"inserted\",data_type=\"nodes\"} 3",
        "vz_sync_events_total{type=\"sync.completed\"} ",
        "vz_sync_staleness_seconds{team_id=\"1\",data_type=\"environments\"} ",
        "vz_sync_max_allowed_staleness_seconds{team_id=\"1\",data_type=\"nodes\"} 900",
        "vz_sync_queue_depth{queue=\"due_high\"} ",
        "vz_sync_queue_depth{queue=\"jobs_dead\"} 0",
        "vz_sync_sse_clients 0",
        "vz_sync_log_dropped_fields_total 7",
        "actor_mailbox_depth{kind=\"scheduler\"} ",
        "actor_mailbox_wait_seconds_bucket{kind=\"scheduler\",le=\"+Inf\"} ",
        "actor_handle_seconds_count{kind=\"scheduler\",message=",
        "vz_sync_http_requests_total{method=\"GET\",route=\"/api/v1/teams/{team_id}/vz-sync/jobs\",status=\"200\"} ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // One description per family, as scrapers demand.
    let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(all, families.len());
}
