//! Runs the jobs of one (team, scope), one at a time.
//!
//! Owns the run in hand. If it dies, the run is aborted, its guard gives the
//! lease back by run id, and the delivery comes again. It never decides what
//! is due and never retries by itself: an ended run leaves its state in the
//! store, and the scheduler finds it there.
//!
//! - [`order`]: a delivery with its permit.
//! - `run`: one attempt, from lease to ack; `settling`: its ends without data.
//! - `keeper`: renews lease and lock, and ends the run when trust is over.
//! - `environments`, `delta`, `job_logs`, `archived_sites`: what a run reads.
//! - `changes`: turns planned rows into upserts, inline or staged.
//! - `progress`: tells of a run at most once a second.

mod archived_sites;
mod changes;
mod delta;
mod environments;
mod guard;
mod job_logs;
mod keeper;
mod order;
mod patience;
mod progress;
mod refusals;
mod removals;
mod run;
mod schedule;
mod settling;
mod stop;
mod tell;

use std::collections::VecDeque;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::domain::ScopeKey;
use crate::kit::{ActorError, Behaviour, Context, Message, Reply, TaskEnd, TaskHandle};
use crate::parts::Parts;

pub use order::Order;
pub use progress::RunView;
use run::Attempt;
pub use run::RunEnd;
use stop::{StopWhy, Stopper};

/// Orders that wait behind the run in hand; more are repeats.
const WAITING: usize = 2;

/// What a team-sync actor understands.
#[derive(Debug)]
pub enum TeamSyncMsg {
    /// Run a job.
    Run(Order),
    /// An operator stops the run in hand.
    Cancel {
        /// Who.
        by: String,
        /// Whether there was one.
        reply: Reply<bool>,
    },
    /// The lease of the run in hand may have been taken away.
    Doubt,
    /// The run in hand entered a phase or got further in it.
    Moved(RunView),
    /// The run in hand ended.
    Ended(TaskEnd<RunEnd>),
}

impl Message for TeamSyncMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Cancel { .. } => "cancel",
            Self::Doubt => "doubt",
            Self::Moved(_) => "moved",
            Self::Ended(_) => "ended",
        }
    }
}

/// All it takes to build a team-sync actor.
#[derive(Clone)]
pub struct TeamSyncArgs {
    /// Ports and settings.
    pub parts: Parts,
    /// Whose runs.
    pub key: ScopeKey,
}

/// The actor.
pub struct TeamSync {
    args: TeamSyncArgs,
    current: Option<Current>,
    waiting: VecDeque<Order>,
    details: Details,
}

struct Current {
    stopper: Stopper,
    ended: CancellationToken,
    _task: TaskHandle,
}

/// What `/admin/actors` shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Details {
    job: Option<i64>,
    waiting: usize,
    runs_total: u64,
    last_outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_ended_at: Option<OffsetDateTime>,
    run: Option<RunView>,
}

#[async_trait]
impl Behaviour for TeamSync {
    type Msg = TeamSyncMsg;
    type Args = TeamSyncArgs;
    const KIND: &'static str = "team_sync";
    const POOL_KIND: &'static str = "team_pool";

    async fn start(args: Self::Args, _ctx: &Context<Self>) -> Result<Self, ActorError> {
        Ok(Self { args, current: None, waiting: VecDeque::new(), details: Details::default() })
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            TeamSyncMsg::Run(order) => {
                if self.waiting.len() < WAITING {
                    self.waiting.push_back(order);
                }
                self.begin_next(ctx);
            }
            TeamSyncMsg::Cancel { by, reply } => {
                if let Some(current) = &self.current {
                    current.stopper.stop(StopWhy::Cancelled(by));
                }
                reply.send(self.current.is_some());
            }
            TeamSyncMsg::Doubt => {
                if let Some(current) = &self.current {
                    current.stopper.doubt();
                }
            }
            TeamSyncMsg::Moved(view) => {
                if self.current.is_some() {
                    self.details.run = Some(view);
                }
            }
            TeamSyncMsg::Ended(end) => self.ended(end, ctx)?,
        }
        self.show(ctx);
        Ok(())
    }

    async fn stop(&mut self, _ctx: &Context<Self>) {
        self.waiting.clear();
        if let Some(current) = &self.current {
            current.stopper.stop(StopWhy::HandBack);
            // The pool's stop time-out bounds this wait; past it the run's
            // guard does what is left.
            current.ended.cancelled().await;
        }
    }
}

impl TeamSync {
    fn begin_next(&mut self, ctx: &Context<Self>) {
        if self.current.is_some() {
            return;
        }
        let Some(order) = self.waiting.pop_front() else { return };
        let stopper = Stopper::default();
        let ended = CancellationToken::new();
        let done = ended.clone().drop_guard();
        self.details.job = Some(order.message().job.0);
        let myself = ctx.myself().clone();
        // A view that is refused is no loss: the next one follows.
        let show = move |view| drop(myself.cast(TeamSyncMsg::Moved(view)));
        let attempt =
            Attempt::new(self.args.parts.clone(), self.args.key, stopper.clone(), Box::new(show));
        let task = ctx.run_task(
            async move {
                let _done = done;
                attempt.execute(order).await
            },
            TeamSyncMsg::Ended,
        );
        self.current = Some(Current { stopper, ended, _task: task });
    }

    fn ended(&mut self, end: TaskEnd<RunEnd>, ctx: &Context<Self>) -> Result<(), ActorError> {
        self.current = None;
        self.details.job = None;
        self.details.run = None;
        self.details.last_ended_at = Some(self.args.parts.ports.clock.wall());
        match end {
            TaskEnd::Done(outcome) => {
                self.details.runs_total += 1;
                self.details.last_outcome = Some(outcome.to_string());
                self.begin_next(ctx);
                Ok(())
            }
            TaskEnd::Panicked(message) => {
                // A bug in a run may have left anything behind: start anew.
                error!(
                    event = "vz_sync_job_failed",
                    team_id = self.args.key.team.0,
                    scope = self.args.key.scope.as_str(),
                    reason = "panic",
                    "a run panicked"
                );
                Err(ActorError::new(format!("a run panicked: {message}")))
            }
            TaskEnd::Aborted => {
                self.begin_next(ctx);
                Ok(())
            }
        }
    }

    fn show(&mut self, ctx: &Context<Self>) {
        self.details.waiting = self.waiting.len();
        ctx.set_details(self.details.clone());
    }
}
