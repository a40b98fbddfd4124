//! Tries refused keys again from time to time, so that a team whose key works
//! again goes on by itself.
//!
//! Owns a timer. Nothing is lost if it dies: when a probe is due is in the
//! store, and each is handed to one caller only. It never touches a key that
//! was not refused. A team whose probe brings no answer says nothing of the
//! others, and is tried again soon.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::Serialize;
use tracing::{info, warn};

use crate::domain::{FailureClass, TeamId};
use crate::kit::{ActorError, Behaviour, Context, Message, TaskEnd, TaskHandle, TimerHandle};
use crate::parts::Parts;
use crate::ports::PortResult;
use crate::ports::credentials::Resolved;
use crate::ports::signals::Signal;

/// What the key prober understands.
#[derive(Debug)]
pub enum KeyProberMsg {
    /// Time to look for due probes.
    Look,
    /// The probes of one look are through.
    Looked(TaskEnd<PortResult<Round>>),
}

impl Message for KeyProberMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Looked(_) => "looked",
        }
    }
}

/// How often it looks for due probes.
const EVERY: Duration = Duration::from_secs(60);
/// Probes of one look; more wait for the next.
const BATCH: u32 = 20;
/// Probes under way at once, so that a slow platform does not keep the teams
/// of another waiting.
const AT_ONCE: usize = 4;

/// What one look brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    probed: u64,
    accepted: u64,
    unanswered: u64,
}

/// The actor.
pub struct KeyProber {
    parts: Parts,
    next: Option<TimerHandle>,
    looking: Option<TaskHandle>,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    looking: bool,
    probed_total: u64,
    accepted_total: u64,
    unanswered_total: u64,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for KeyProber {
    type Msg = KeyProberMsg;
    type Args = Parts;
    const KIND: &'static str = "key_prober";

    async fn start(parts: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let next = Some(ctx.send_after(EVERY, KeyProberMsg::Look));
        Ok(Self { parts, next, looking: None, details: Details::default() })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            KeyProberMsg::Look => {
                let look = look(self.parts.clone());
                self.looking = Some(ctx.run_task(look, KeyProberMsg::Looked));
            }
            KeyProberMsg::Looked(end) => {
                self.looking = None;
                self.looked(end);
                self.next = Some(ctx.send_after(EVERY, KeyProberMsg::Look));
            }
        }
        self.details.looking = self.looking.is_some();
        ctx.set_details(self.details.clone());
        Ok(())
    }
}

impl KeyProber {
    fn looked(&mut self, end: TaskEnd<PortResult<Round>>) {
        let error = match end {
            TaskEnd::Done(Ok(round)) => {
                self.details.probed_total += round.probed;
                self.details.accepted_total += round.accepted;
                self.details.unanswered_total += round.unanswered;
                None
            }
            TaskEnd::Done(Err(error)) => Some(error.to_string()),
            // Its teams are due again soon: their next probe was moved first.
            TaskEnd::Panicked(message) => Some(format!("a probe panicked: {message}")),
            TaskEnd::Aborted => Some("the probes were aborted".to_owned()),
        };
        if let Some(error) = &error {
            warn!(event = "vz_sync_probe_failed", error = %error, "refused keys were not probed");
        }
        self.details.last_error = error;
    }
}

/// Probes the keys that are due, a few at once.
async fn look(parts: Parts) -> PortResult<Round> {
    if !parts.settings.pipeline {
        return Ok(Round::default());
    }
    let soon = parts.settings.probe_retry;
    let due = parts.ports.credentials.due_probes(BATCH, soon).await?;
    let probes = due.into_iter().map(|team| probe(&parts, team));
    let ends: Vec<Found> =
        futures_util::stream::iter(probes).buffer_unordered(AT_ONCE).collect().await;
    let count = |found| ends.iter().filter(|end| **end == found).count() as u64;
    Ok(Round {
        probed: ends.len() as u64,
        accepted: count(Found::Accepted),
        unanswered: count(Found::NoAnswer),
    })
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The platform takes the key.
    Accepted,
    /// It still does not.
    Refused,
    /// It, or the store, did not say.
    NoAnswer,
}

async fn probe(parts: &Parts, team: TeamId) -> Found {
    let timeout = parts.settings.probe_timeout;
    let found = match tokio::time::timeout(timeout, works(parts, team)).await {
        Ok(Ok(Some(works))) => noted(parts, team, works).await,
        Ok(Ok(None)) => return Found::NoAnswer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    };
    found.unwrap_or_else(|error| {
        warn!(event = "vz_sync_probe_failed", team_id = team.0, error = %error, "the probe of a refused key brought no answer");
        Found::NoAnswer
    })
}

/// Writes down what the platform said.
async fn noted(parts: &Parts, team: TeamId, works: bool) -> Result<Found, String> {
    let credentials = &parts.ports.credentials;
    if !works {
        let again_in = parts.settings.retry.auth_probe;
        let noted = credentials.refused_again(team, again_in).await;
        return noted.map(|()| Found::Refused).map_err(|error| error.to_string());
    }
    if credentials.accepted(team).await.map_err(|error| error.to_string())? {
        info!(event = "vz_sync_key_accepted", team_id = team.0, "the platform takes the key again");
        parts.ports.signals.send(Signal::StatesDue);
    }
    Ok(Found::Accepted)
}

/// Whether the platform takes the team's key now; `None` when it does not say.
async fn works(parts: &Parts, team: TeamId) -> PortResult<Option<bool>> {
    let ports = &parts.ports;
    // A key that is gone, or that the ring cannot open, is no question for the platform.
    let Resolved::Access(access) = ports.credentials.resolve(team).await? else {
        return Ok(Some(false));
    };
    Ok(match ports.platform.account(&access).await {
        Ok(account) => {
            Some(account.enabled && access.owner_uid.is_none_or(|uid| uid == account.uid))
        }
        Err(failure) if failure.class == FailureClass::Auth => Some(false),
        Err(failure) => {
            warn!(event = "vz_sync_probe_failed", team_id = team.0, error_class = failure.class.as_str(), reason = %failure.code, "the probe of a refused key brought no answer");
            None
        }
    })
}
