//! Tries refused keys again from time to time, so that a team whose key works
//! again goes on by itself.
//!
//! Owns a timer. Nothing is lost if it dies: when a probe is due is in the
//! store, and each is handed to one caller only. It never touches a key that
//! was not refused.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tracing::{info, warn};

use crate::domain::{FailureClass, TeamId};
use crate::kit::{ActorError, Behaviour, Context, Message, TimerHandle};
use crate::parts::Parts;
use crate::ports::PortResult;
use crate::ports::credentials::Resolved;
use crate::ports::signals::Signal;

/// What the key prober understands.
#[derive(Debug)]
pub enum KeyProberMsg {
    /// Time to look for due probes.
    Look,
}

impl Message for KeyProberMsg {
    fn name(&self) -> &'static str {
        "look"
    }
}

/// How often it looks for due probes.
const EVERY: Duration = Duration::from_secs(60);
/// Probes of one look; more wait for the next.
const BATCH: u32 = 20;

/// The actor.
pub struct KeyProber {
    parts: Parts,
    next: TimerHandle,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    probed_total: u64,
    accepted_total: u64,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for KeyProber {
    type Msg = KeyProberMsg;
    type Args = Parts;
    const KIND: &'static str = "key_prober";

    async fn start(parts: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let next = ctx.send_after(EVERY, KeyProberMsg::Look);
        Ok(Self { parts, next, details: Details::default() })
    }

    async fn handle(&mut self, _: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        self.details.last_error = self.look().await.err().map(|error| {
            warn!(event = "vz_sync_probe_failed", error = %error, "refused keys were not probed");
            error.to_string()
        });
        self.next = ctx.send_after(EVERY, KeyProberMsg::Look);
        ctx.set_details(self.details.clone());
        Ok(())
    }
}

impl KeyProber {
    async fn look(&mut self) -> PortResult<()> {
        if !self.parts.settings.pipeline {
            return Ok(());
        }
        let credentials = self.parts.ports.credentials.clone();
        let again_in = self.parts.settings.retry.auth_probe;
        for team in credentials.due_probes(BATCH, again_in).await? {
            self.details.probed_total += 1;
            if self.works(team).await? && credentials.accepted(team).await? {
                self.details.accepted_total += 1;
                info!(
                    event = "vz_sync_key_accepted",
                    team_id = team.0,
                    "the platform takes the key again"
                );
                self.parts.ports.signals.send(Signal::StatesDue);
            }
        }
        Ok(())
    }

    /// Whether the platform takes the team's key now. No answer is no.
    async fn works(&self, team: TeamId) -> PortResult<bool> {
        let ports = &self.parts.ports;
        let Resolved::Access(access) = ports.credentials.resolve(team).await? else {
            return Ok(false);
        };
        match ports.platform.account(&access).await {
            Ok(account) => {
                Ok(account.enabled && access.owner_uid.is_none_or(|uid| uid == account.uid))
            }
            Err(failure) => {
                if failure.class != FailureClass::Auth {
                    warn!(event = "vz_sync_probe_failed", team_id = team.0, error_class = failure.class.as_str(), reason = %failure.code, "the probe of a refused key brought no answer");
                }
                Ok(false)
            }
        }
    }
}
