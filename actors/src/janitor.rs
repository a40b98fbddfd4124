//! Housekeeping on a timer: partitions ahead, retention, orphans.
//!
//! Owns the timer only. Nothing is lost if it dies; the next round does it.
//! What is tidied and how is the store's business, under its own lock.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use tracing::warn;

use crate::kit::{ActorError, Behaviour, Context, Message, TimerHandle};
use crate::parts::Parts;
use crate::ports::upkeep::Tidied;

/// What the janitor understands.
#[derive(Debug)]
pub enum JanitorMsg {
    /// Time for the chores.
    Tidy,
}

impl Message for JanitorMsg {
    fn name(&self) -> &'static str {
        "tidy"
    }
}

/// Time after start before the first round: not in the way of the first runs.
const FIRST: Duration = Duration::from_secs(5);

/// The actor.
pub struct Janitor {
    parts: Parts,
    next: TimerHandle,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    #[serde(with = "time::serde::rfc3339::option")]
    last_round_at: Option<OffsetDateTime>,
    last_round: Option<Tidied>,
    rounds: u64,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for Janitor {
    type Msg = JanitorMsg;
    type Args = Parts;
    const KIND: &'static str = "janitor";

    async fn start(parts: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let next = ctx.send_after(FIRST, JanitorMsg::Tidy);
        Ok(Self { parts, next, details: Details::default() })
    }

    async fn handle(&mut self, _: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        let Parts { ports, settings, .. } = &self.parts;
        match ports.upkeep.tidy(&settings.retention, settings.janitor_batch).await {
            Ok(tidied) => {
                self.details.last_round = tidied;
                self.details.last_error = None;
            }
            Err(error) => {
                warn!(event = "vz_sync_tidy_failed", error = %error, "chores not done");
                self.details.last_error = Some(error.to_string());
            }
        }
        self.details.rounds += 1;
        self.details.last_round_at = Some(ports.clock.wall());
        self.next = ctx.send_after(settings.janitor_every, JanitorMsg::Tidy);
        ctx.set_details(self.details.clone());
        Ok(())
    }
}
