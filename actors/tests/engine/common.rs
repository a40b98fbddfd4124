//! What the tests of the engine have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::Duration as Span;
use vz_sync_actors::domain::item::{Columns, Item};
use vz_sync_actors::domain::{
    Class, DataType, Event, EventBody, ExternalId, JobId, ScopeKey, TeamId,
};
use vz_sync_actors::ports::reads::{ItemRow, JobRow, Reads as _};
use vz_sync_actors::ports::store::Requested;
use vz_sync_actors::testkit::Universe;
use vz_sync_actors::testkit::fixtures::{Environment, action_item, sync_request};

pub use vz_sync_actors::domain::Scope::{ArchivedSites, Environments, JobLogs};

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One replica and one team that is up to date.
pub async fn one_team(environments: u32, nodes: u32) -> (Universe, TeamId) {
    let mut universe = Universe::new(1);
    let team = universe.team(1, environments, nodes).await;
    universe.start_replica().await;
    universe.settle().await;
    (universe, team)
}

/// The row as it is served.
pub async fn row(
    universe: &Universe,
    team: TeamId,
    table: DataType,
    id: &ExternalId,
) -> Option<ItemRow> {
    universe.store.item(team, table, id).await.unwrap()
}

/// When a table was last verified.
pub async fn verified_at(
    universe: &Universe,
    team: TeamId,
    table: DataType,
) -> Option<time::OffsetDateTime> {
    universe.store.freshness(team, &[table]).await.unwrap()[0].verified_at
}

/// An action of the history on an environment, begun so long ago.
pub fn action(universe: &Universe, n: u32, name: &str, on: &Environment, ago: Span) -> Item {
    let mut item = action_item(n, name);
    let Columns::JobLog(log) = &mut item.columns else { panic!("not an action") };
    log.started_at = Some(universe.wall() - ago);
    log.finished_at = log.started_at;
    log.env_name = Some(on.name.clone());
    log.login = Some("mallory".to_owned());
    item
}

/// Asks for a run that may choose its mode, and waits for its end.
pub async fn refresh(universe: &Universe, team: TeamId, key: ScopeKey) -> JobRow {
    let request = sync_request(key, Class::Manual);
    let Requested::Accepted(jobs) = universe.request(&request).await else { panic!("refused") };
    universe.ended(team, jobs[0].job_id).await
}

/// The terminal events of a job.
pub fn events_of(universe: &Universe, team: TeamId, job: JobId) -> Vec<Event> {
    let of_job = |event: &Event| match &event.body {
        EventBody::Completed(completed) => completed.job_id == job,
        EventBody::Failed(failed) => failed.job_id == Some(job),
        _ => false,
    };
    universe.events(team).into_iter().filter(of_job).collect()
}

/// The lines of the log that name an event, as long as it is listened to.
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    _listening: tracing::subscriber::DefaultGuard,
}

type Line = BTreeMap<&'static str, String>;

impl Log {
    /// Listens on this thread, which is the one that a paused clock runs on.
    pub fn listen() -> Self {
        let lines = Arc::<Mutex<Vec<Line>>>::default();
        let listener = Listener(Arc::clone(&lines));
        Self { lines, _listening: tracing::subscriber::set_default(listener) }
    }

    /// What was said under this name: team and reason.
    pub fn of(&self, event: &str) -> Vec<(String, String)> {
        let lines = self.lines.lock().unwrap();
        let named = lines.iter().filter(|line| line.get("event").is_some_and(|e| e == event));
        let field = |line: &Line, name| line.get(name).cloned().unwrap_or_default();
        named.map(|line| (field(line, "team_id"), field(line, "reason"))).collect()
    }

    /// How often something was said under this name.
    pub fn count(&self, event: &str) -> usize {
        self.of(event).len()
    }
}

struct Listener(Arc<Mutex<Vec<Line>>>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Lets time pass; timers in between fire.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
