//! Bounded mailboxes, supervision and the roster: what every actor of the tree is built with.
//!
//! An actor of this engine is a [`Behaviour`]: its messages, all it takes to rebuild it and its
//! logic. The kit hosts it in one ractor actor and adds what ractor leaves to its user:
//!
//! - [`mailbox`]: the address. Bounded, never blocking, and it outlives the incarnation behind it.
//! - [`behaviour`]: what an actor is, and the context it works in.
//! - [`task`]: work and timers that belong to one incarnation and always report back.
//! - [`restart`]: when to restart and when to give up, as a pure value.
//! - [`supervisor`]: a fixed, ordered set of children.
//! - [`pool`]: children by key, started on first use and passivated when idle.
//! - [`vitals`], [`view`], [`metrics`], [`roster`]: what is known of an actor without asking it.
//! - `line`, `host` and `slot`: the glue to ractor and the life of one supervised child.
//!
//! Deliberately absent: named actors, process-global state of any kind, `ActorRef` as a public
//! address, and every clock but tokio's, so that a paused clock works.

pub mod behaviour;
mod host;
mod line;
pub mod mailbox;
pub mod metrics;
pub mod pool;
mod pool_args;
pub mod restart;
pub mod roster;
mod slot;
pub mod supervisor;
pub mod task;
pub mod view;
pub mod vitals;

pub use behaviour::{ActorError, Behaviour, ChildExit, Context};
pub use mailbox::{AskError, Mailbox, Message, Refused, Reply, Why};
pub use metrics::{HistogramSnapshot, KindMetrics, RosterMetrics};
pub use pool::Pool;
pub use pool_args::{PoolArgs, PoolKey, PoolMsg, PoolSettings, Tick};
pub use restart::{Decision, Lifetime, RestartPolicy, Restarts};
#[cfg(any(test, feature = "testkit"))]
pub use roster::Hold;
pub use roster::{ActorNode, ControlError, Roster, RosterTree};
pub use supervisor::{
    Child, StopReport, Supervised, Supervisor, SupervisorArgs, SupervisorMsg, TreeFailure,
};
pub use task::{TaskEnd, TaskHandle, TimerHandle};
pub use view::{ActorId, ActorState, ActorView, CurrentView, ExitCause, ExitView, MailboxView};
pub use vitals::{Vitals, WallClock};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock of the kit guards plain counters that are valid after every statement, so the
/// panic of one holder is no reason to fail every reader.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic said, as far as it can be told.
fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "panicked with a payload that is no text".to_owned(),
        },
    }
}
