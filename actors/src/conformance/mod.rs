//! One exam per port, which every adapter sits.
//!
//! Each rule of a contract is one async function over the subject, and each
//! `*_exam!` macro makes one test per rule, so that a broken rule is named:
//!
//! ```no_run
//! use std::{future::ready, sync::Arc};
//!
//! use vz_sync_actors::conformance::{PausedPace, due_queue as queue};
//! use vz_sync_actors::embedded::EmbeddedDueQueue;
//!
//! fn a_queue() -> queue::Subject {
//!     queue::Subject { queue: Arc::new(EmbeddedDueQueue::new()), pace: Arc::new(PausedPace) }
//! }
//!
//! vz_sync_actors::due_queue_exam!([tokio::test(start_paused = true)], ready(a_queue()));
//! # fn main() {}
//! ```
//!
//! The first argument is the test attribute in brackets, the second an
//! expression that gives a future of a fresh subject. Subjects carry a
//! [`Pace`], because an exam must be able to let time pass without waiting for
//! it: on the paused clock it is advanced, a server's adapter moves its stored
//! times into the past instead.

mod bus;
pub mod due_queue;
pub mod lock;
mod pace;
mod store;

pub use bus::{event_bus, job_bus, signals};
pub use pace::{Pace, PausedPace, never, soon};
pub use store::{
    StoreSubject, credentials, outbox, platforms, reads, replicas, store_apply, store_archive,
    store_claim, store_holds, store_lease, store_request, store_settle, teams, upkeep,
};

/// One test per named rule of a module of [`conformance`](self).
#[macro_export]
macro_rules! exam {
    ($attr:tt, $make:expr, $module:ident: $($case:ident),+ $(,)?) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                # $attr
                async fn $case() {
                    let subject = $make.await;
                    $crate::conformance::$module::$case(&subject).await;
                }
            )+
        }
    };
}
