//! Many threads send while the actor behind the address crashes and is killed all the time: each
//! message is handled, refused or told that it was dropped, exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use vz_sync_actors::kit::*;

#[derive(Default)]
struct Tally {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    handled: AtomicUsize,
    dropped: AtomicUsize,
}

struct Parcel(Arc<Tally>);

impl Drop for Parcel {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

enum Msg {
    Parcel(Parcel),
    Crash,
    Done(Reply<()>),
}

impl Message for Msg {
    fn name(&self) -> &'static str {
        match self {
            Self::Parcel(_) => "parcel",
            Self::Crash => "crash",
            Self::Done(_) => "done",
        }
    }
}

struct Sink;

#[async_trait]
impl Behaviour for Sink {
    type Msg = Msg;
    type Args = ();
    const KIND: &'static str = "sink";

    async fn start((): (), _ctx: &Context<Self>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, message: Msg, _ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            Msg::Parcel(parcel) => {
                parcel.0.handled.fetch_add(1, Ordering::Relaxed);
            }
            Msg::Crash => return Err(ActorError::new("told to")),
            Msg::Done(reply) => reply.send(()),
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_silently_and_the_depth_returns_to_zero() {
    const SENDERS: usize = 4;
    const RESTARTS: u32 = 100;
    let roster = Roster::new(Arc::new(|| time::macros::datetime!(2026-11-01 12:00 UTC)), 1);
    let mailbox = Mailbox::new::<Sink>(ActorId::root().child("sink"), 100, &roster);
    let policy =
        RestartPolicy { base: Duration::ZERO, intensity: u32::MAX, ..RestartPolicy::default() };
    let child = Child::permanent::<Sink>(&mailbox, (), policy);
    let tree = Supervised::start(&roster, vec![child]).await.unwrap();
    let tally = Arc::new(Tally::default());

    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (mailbox, tally, roster) = (mailbox.clone(), tally.clone(), roster.clone());
            tokio::spawn(async move {
                let mut n = 0;
                while mailbox.vitals().view().restarts < RESTARTS {
                    n += 1;
                    match mailbox.cast(Msg::Parcel(Parcel(tally.clone()))) {
                        Ok(()) => tally.accepted.fetch_add(1, Ordering::Relaxed),
                        Err(_) => tally.refused.fetch_add(1, Ordering::Relaxed),
                    };
                    if n % 100 == sender {
                        let _ = mailbox.cast(Msg::Crash);
                    }
                    if n % 300 == sender {
                        let _ = roster.kill(mailbox.id());
                    }
                    if n % 10 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    while mailbox.ask(Duration::from_secs(30), Msg::Done).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(tree.shutdown().await.overdue.is_empty());

    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (accepted, refused) = (of(&tally.accepted), of(&tally.refused));
    assert_eq!(of(&tally.dropped), accepted + refused, "each parcel is told, once");
    assert!(of(&tally.handled) > 0 && of(&tally.handled) < accepted, "the control: some were lost");
    assert_eq!(mailbox.depth(), 0);
    assert!(mailbox.vitals().view().mailbox.high_water <= 100, "the bound holds under contention");
}
