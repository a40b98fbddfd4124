//! What the tests of the engine have in common.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use vz_sync_actors::domain::{DataType, Event, EventBody, ExternalId, JobId, TeamId};
use vz_sync_actors::ports::reads::{ItemRow, Reads as _};
use vz_sync_actors::testkit::Universe;

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

/// The terminal events of a job.
pub fn events_of(universe: &Universe, team: TeamId, job: JobId) -> Vec<Event> {
    let of_job = |event: &Event| match &event.body {
        EventBody::Completed(completed) => completed.job_id == job,
        EventBody::Failed(failed) => failed.job_id == Some(job),
        _ => false,
    };
    universe.events(team).into_iter().filter(of_job).collect()
}

/// Lets time pass; timers in between fire.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The names of the log events of this thread, as long as the guard lives.
pub fn log_events() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    (log.clone(), tracing::subscriber::set_default(log))
}

/// Writes down the field `event` of each log event.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn count(&self, event: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|name| *name == event).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Names(&self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Names<'a>(&'a Mutex<Vec<String>>);

impl Visit for Names<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
