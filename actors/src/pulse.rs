//! The replica's pulse: its heartbeat, the leases of the dead, and the gates
//! of the platforms.
//!
//! Owns two timers. If it dies or hangs, the heartbeat grows old: this
//! replica's share of the request limits ends by itself, and then the others
//! take its leases, which is the right end for a replica that cannot keep its
//! pulse. It never touches a living owner's lease.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::kit::{ActorError, Behaviour, Context, Message, TimerHandle};
use crate::membership::Membership;
use crate::parts::Parts;
use crate::ports::replicas::ReplicaInfo;
use crate::ports::signals::Signal;

/// What the pulse understands.
#[derive(Debug)]
pub enum PulseMsg {
    /// Time for a heartbeat and a look at the others.
    Beat,
    /// Time to read the gates.
    Gates,
}

impl Message for PulseMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Gates => "gates",
        }
    }
}

/// The actor.
pub struct Pulse {
    parts: Parts,
    _beat: TimerHandle,
    _gates: TimerHandle,
    details: Details,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    live_replicas: u32,
    fleet_permits: u32,
    share_of: u32,
    freed_total: u64,
    last_error: Option<String>,
}

#[async_trait]
impl Behaviour for Pulse {
    type Msg = PulseMsg;
    type Args = Parts;
    const KIND: &'static str = "pulse";

    async fn start(parts: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        Ok(Self {
            parts,
            _beat: ctx.send_after(Duration::ZERO, PulseMsg::Beat),
            _gates: ctx.send_after(Duration::ZERO, PulseMsg::Gates),
            details: Details::default(),
        })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            PulseMsg::Beat => {
                self.beat().await;
                self.share();
                self._beat = ctx.send_after(self.parts.settings.heartbeat, PulseMsg::Beat);
            }
            PulseMsg::Gates => {
                if let Ok(gates) = self.parts.ports.platforms.gates().await {
                    self.parts.measured.set_gates(gates);
                }
                self.share();
                self._gates = ctx.send_after(self.parts.settings.gates_every, PulseMsg::Gates);
            }
        }
        ctx.set_details(self.details.clone());
        Ok(())
    }
}

impl Pulse {
    async fn beat(&mut self) {
        let Parts { ports, settings, measured } = &self.parts;
        let me = ReplicaInfo {
            id: settings.replica,
            host: settings.host.clone(),
            permits: settings.permits.total as u32,
            version: settings.version.clone(),
        };
        let sent = Instant::now();
        match ports.replicas.heartbeat(&me, settings.dead_after).await {
            Ok(fleet) => {
                let (before, now) = (measured.membership(), Instant::now());
                let dead_after = settings.dead_after;
                measured
                    .set_membership(Membership::after_beat(before, fleet, sent, now, dead_after));
                self.details.live_replicas = fleet.replicas;
                self.details.fleet_permits = fleet.permits;
                self.details.last_error = None;
            }
            Err(error) => {
                warn!(event = "vz_sync_heartbeat_failed", error = %error, "heartbeat not written");
                self.details.last_error = Some(error.to_string());
                return;
            }
        }
        match ports.replicas.reap(settings.dead_after).await {
            Ok(freed) if freed.is_empty() => {}
            Ok(freed) => {
                for freed in &freed {
                    info!(
                        event = "vz_sync_lease_taken_over",
                        team_id = freed.key.team.0,
                        scope = freed.key.scope.as_str(),
                        "the lease of a dead owner was freed"
                    );
                }
                self.details.freed_total += freed.len() as u64;
                ports.signals.send(Signal::StatesDue);
            }
            Err(error) => self.details.last_error = Some(error.to_string()),
        }
    }

    /// Tells the limiter how many share, and for how long that is sure.
    fn share(&mut self) {
        let Parts { ports, settings, measured } = &self.parts;
        let Some(membership) = measured.membership() else { return };
        let lent = membership.lent(Instant::now(), settings.join_wait);
        self.details.share_of = lent.parts;
        ports.limiter.share(lent.parts, lent.until);
        measured.set_may_ask(lent.parts > 0);
    }
}
