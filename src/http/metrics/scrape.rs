//! What `/metrics` computes when it is asked: actors, staleness, queues,
//! circuits.

use std::collections::HashSet;
use std::time::Duration;

use vz_sync_actors::ports::platforms::Circuit;
use vz_sync_actors::ports::reads::Staleness;

use super::text::Page;
use crate::http::state::ApiState;

/// Above this many teams only the worst are named.
const NAMED_TEAMS: usize = 2000;
/// How many are named then.
const WORST: usize = 500;
/// (team, table) pairs read for one scrape.
const READ: u32 = 200_000;
/// A server that does not answer must not hold up the scrape.
const PATIENCE: Duration = Duration::from_secs(5);
/// Buckets of the staleness histogram, in seconds.
const AGES: [f64; 8] = [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 86_400.0];

/// The whole page.
pub async fn render(api: &ApiState) -> Result<String, prometheus::Error> {
    let mut text = api.metrics.encode()?;
    let mut page = Page::default();
    for watched in api.metrics.watched() {
        page.family(watched.name, "counter", watched.help);
        page.sample(watched.name, &[], (watched.read)());
    }
    actors(&mut page, api);
    circuits(&mut page, api);
    let (staleness, depths) = tokio::join!(staleness(api), depths(api));
    if let Some(rows) = staleness {
        write_staleness(&mut page, &rows);
    }
    page.family("vz_sync_queue_depth", "gauge", "Entries waiting, by queue.");
    for (queue, depth) in depths {
        page.sample("vz_sync_queue_depth", &[("queue", queue)], depth);
    }
    text.push_str(&page.finish());
    Ok(text)
}

fn actors(page: &mut Page, api: &ApiState) {
    let kinds = api.engine.roster().metrics().kinds;
    page.family("actor_mailbox_depth", "gauge", "Messages waiting.");
    for (kind, figures) in &kinds {
        page.sample("actor_mailbox_depth", &[("kind", kind)], figures.depth);
    }
    page.family("actor_messages_rejected_total", "counter", "Messages refused.");
    for (kind, figures) in &kinds {
        page.sample("actor_messages_rejected_total", &[("kind", kind)], figures.rejected);
    }
    page.family("actor_restarts_total", "counter", "Restarts by the cause of the exit before.");
    for (kind, figures) in &kinds {
        for (cause, count) in &figures.restarts {
            page.sample("actor_restarts_total", &[("kind", kind), ("cause", cause)], count);
        }
    }
    page.family("actor_mailbox_wait_seconds", "histogram", "Time between sending and handling.");
    for (kind, figures) in &kinds {
        page.histogram("actor_mailbox_wait_seconds", &[("kind", kind)], &figures.wait);
    }
    page.family("actor_handle_seconds", "histogram", "Time spent on a message.");
    for (kind, figures) in &kinds {
        for (message, snapshot) in &figures.handle {
            let labels = [("kind", *kind), ("message", *message)];
            page.histogram("actor_handle_seconds", &labels, snapshot);
        }
    }
}

fn circuits(page: &mut Page, api: &ApiState) {
    page.family(
        "vz_sync_platform_circuit_state",
        "gauge",
        "0 closed, 1 half open, 2 open, by platform.",
    );
    for gate in api.engine.gates().iter() {
        let state = match gate.circuit {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        };
        let platform = gate.platform.to_string();
        page.sample("vz_sync_platform_circuit_state", &[("platform", &platform)], state);
    }
}

async fn staleness(api: &ApiState) -> Option<Vec<Staleness>> {
    match tokio::time::timeout(PATIENCE, api.ports.reads.staleness(READ)).await {
        Ok(Ok(rows)) => Some(rows),
        Ok(Err(error)) => {
            tracing::warn!(event = "metrics_incomplete", error = %error, "no staleness");
            None
        }
        Err(_) => None,
    }
}

fn write_staleness(page: &mut Page, rows: &[Staleness]) {
    let teams: HashSet<_> = rows.iter().map(|row| row.team).collect();
    let named: HashSet<_> = if teams.len() > NAMED_TEAMS {
        // Rows come stalest first, so the worst teams are those met first.
        let mut worst = HashSet::new();
        for row in rows {
            if worst.len() == WORST {
                break;
            }
            worst.insert(row.team);
        }
        worst
    } else {
        teams
    };
    let shown = || rows.iter().filter(|row| named.contains(&row.team));
    // A table that was never read has no age; +Inf lets the alert see it.
    let age = |row: &Staleness| row.age.map_or(f64::INFINITY, |age| age.as_secs_f64());
    page.family("vz_sync_staleness_seconds", "gauge", "Age of the last complete answer.");
    for row in shown() {
        let team = row.team.to_string();
        let labels = [("team_id", team.as_str()), ("data_type", row.data_type.as_str())];
        let age = age(row);
        if age.is_finite() {
            page.sample("vz_sync_staleness_seconds", &labels, age);
        } else {
            page.sample("vz_sync_staleness_seconds", &labels, "+Inf");
        }
    }
    page.family(
        "vz_sync_max_allowed_staleness_seconds",
        "gauge",
        "Age at which an answer is called stale.",
    );
    for row in shown() {
        let team = row.team.to_string();
        let labels = [("team_id", team.as_str()), ("data_type", row.data_type.as_str())];
        let most = row.max_allowed.as_secs_f64();
        page.sample("vz_sync_max_allowed_staleness_seconds", &labels, most);
    }
    let mut counts = vec![0_u64; AGES.len() + 1];
    let mut sum = 0.0;
    for age in rows.iter().map(age) {
        counts[AGES.partition_point(|bound| *bound < age)] += 1;
        sum += if age.is_finite() { age } else { 0.0 };
    }
    page.family("vz_sync_staleness_distribution_seconds", "histogram", "All tables of all teams.");
    page.buckets("vz_sync_staleness_distribution_seconds", &[], &AGES, &counts, sum);
}

async fn depths(api: &ApiState) -> Vec<(&'static str, u64)> {
    let due = tokio::time::timeout(PATIENCE, api.ports.due_queue.depths());
    let bus = tokio::time::timeout(PATIENCE, api.ports.job_bus.depths());
    let (due, bus) = tokio::join!(due, bus);
    let mut depths = Vec::new();
    if let Ok(Ok(due)) = due {
        depths.extend([
            ("due_high", due.high),
            ("due_normal", due.normal),
            ("due_low", due.low),
            ("due_in_flight", due.in_flight),
            ("due_bad", due.bad),
            ("due_standby", due.standby),
        ]);
    }
    if let Ok(Ok(bus)) = bus {
        depths.extend([
            ("jobs_high", bus.high),
            ("jobs_normal", bus.normal),
            ("jobs_low", bus.low),
            ("jobs_dead", bus.dead),
        ]);
    }
    depths
}
