//! The replica's pulse: its heartbeat, the leases of the dead, and the gates
//! of the platforms.
//!
//! Owns three timers. If it dies, the heartbeat grows old and the other
//! replicas take this one's leases, which is the right end for a replica that
//! cannot keep its pulse. It never touches a living owner's lease.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::kit::{ActorError, Behaviour, Context, Message, TimerHandle};
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
    last_beat: Instant,
    /// A new replica joins the others' sums before it sends anything: they
    /// must have seen it and taken their smaller share.
    joined: Option<Instant>,
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
            last_beat: Instant::now(),
            joined: None,
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
            // Others must not put jobs on the bus for one who takes none.
            permits: if settings.pipeline { settings.permits.total as u32 } else { 0 },
            version: settings.version.clone(),
        };
        match ports.replicas.heartbeat(&me, settings.dead_after).await {
            Ok(fleet) => {
                self.last_beat = Instant::now();
                self.joined.get_or_insert_with(Instant::now);
                self.details.live_replicas = fleet.replicas;
                self.details.fleet_permits = fleet.permits;
                self.details.last_error = None;
                measured.set_fleet(fleet);
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

    /// Tells the limiter how many share: none while this replica is too new
    /// to be counted by the others, or too late to be counted as alive.
    fn share(&mut self) {
        let Parts { ports, settings, measured } = &self.parts;
        let live = measured.fleet().map_or(0, |fleet| fleet.replicas);
        let alone = live <= 1;
        let counted =
            alone || self.joined.is_some_and(|joined| joined.elapsed() >= settings.heartbeat * 2);
        let late = self.last_beat.elapsed() > settings.heartbeat_late;
        let share = if counted && !late { live } else { 0 };
        self.details.share_of = share;
        ports.limiter.share(share);
    }
}
