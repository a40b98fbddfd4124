//! The pool's contract.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use vz_sync_actors::kit::*;

use crate::probe::*;

type Msg = PoolMsg<u32, ProbeMsg>;

struct Fixture {
    tree: Supervised,
    pool: Mailbox<Msg>,
    journal: Journal,
    factory_fails: Arc<AtomicBool>,
}

fn settings() -> PoolSettings {
    PoolSettings {
        mailbox_bound: 10,
        policy: policy(),
        idle_after: Duration::from_mins(1),
        sweep: Duration::from_secs(10),
        max_live: 100,
        stop_timeout: Duration::from_secs(3),
    }
}

async fn fixture(settings: PoolSettings) -> Fixture {
    let (roster, journal) = (roster(), Journal::default());
    let pool = Mailbox::new::<Pool<u32, Probe>>(ActorId::root().child("pool"), 1000, &roster);
    let made = journal.clone();
    let factory_fails = Arc::new(AtomicBool::new(false));
    let fails = factory_fails.clone();
    let args = PoolArgs::<u32, Probe>::new(settings, move |key| {
        assert!(!fails.load(Ordering::Relaxed), "factory fails");
        ProbeArgs::new(key.to_string(), &made)
    });
    let child = Child::permanent::<Pool<u32, Probe>>(&pool, args, policy());
    let tree = Supervised::start(&roster, vec![child]).await.unwrap();
    Fixture { tree, pool, journal, factory_fails }
}

impl Fixture {
    fn route(&self, key: u32, message: ProbeMsg) {
        self.pool.cast(PoolMsg::Route { key, message }).unwrap();
    }

    async fn count(&self, key: u32) -> Result<u32, AskError> {
        let request = |reply| PoolMsg::Route { key, message: ProbeMsg::Count(reply) };
        self.pool.ask(SECOND, request).await
    }

    fn id(&self, key: u32) -> ActorId {
        self.pool.id().child(key)
    }

    fn view(&self, key: u32) -> Option<ActorView> {
        self.tree.roster().get(&self.id(key))
    }

    fn state(&self, key: u32) -> Option<ActorState> {
        self.view(key).map(|view| view.state)
    }

    async fn crash(&self, key: u32) {
        self.tree.roster().inject_panic(&self.id(key)).unwrap();
        until("not up", || {
            matches!(self.state(key), Some(ActorState::Backoff | ActorState::Failed))
        })
        .await;
    }

    async fn hold(&self, key: u32) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel();
        self.route(key, ProbeMsg::Hold(held));
        until("holds", || self.view(key).is_some_and(|view| view.current_message.is_some())).await;
        release
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_starts_on_first_use_and_is_kept() {
    let f = fixture(settings()).await;
    assert!(f.view(1).is_none());
    assert_eq!(f.count(1).await, Ok(1));
    assert_eq!(f.count(1).await, Ok(2));
    assert_eq!(f.count(2).await, Ok(1));
    assert_eq!(f.journal.count("1 starts"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_run_is_not_started_to_be_told() {
    let f = fixture(settings()).await;
    let tell = |reply| PoolMsg::Tell { key: 1, message: ProbeMsg::Count(reply) };
    assert!(f.pool.ask(SECOND, tell).await.is_err());
    assert_eq!(f.journal.count("1 starts"), 0);
    assert_eq!(f.count(1).await, Ok(1));
    assert_eq!(f.pool.ask(SECOND, tell).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn an_idle_child_is_passivated_and_starts_again_when_needed() {
    let f = fixture(settings()).await;
    f.count(1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(55)).await;
    f.count(2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!(f.view(1).is_none(), "forgotten, not merely stopped");
    assert_eq!(f.journal.count("1 stops"), 1, "gracefully");
    assert_eq!(f.count(2).await, Ok(2), "the younger one stays");
    assert_eq!(f.count(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn work_keeps_a_child_alive() {
    let f = fixture(settings()).await;
    let (signal, until_told) = oneshot::channel();
    f.route(1, ProbeMsg::Task(until_told));
    let release = f.hold(2).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(f.journal.count("1 stops") + f.journal.count("2 stops"), 0);
    signal.send(()).unwrap();
    release.send(()).unwrap();
    until("passivated", || f.view(1).is_none() && f.view(2).is_none()).await;
    assert_eq!(f.journal.count("Done(\"done\")"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_meets_a_stopping_child_goes_to_the_next_incarnation() {
    let f = fixture(settings()).await;
    let release = f.hold(1).await;
    f.pool.cast(PoolMsg::Stop { key: 1 }).unwrap();
    f.route(1, ProbeMsg::Note("held"));
    until("stopping", || f.state(1) == Some(ActorState::Stopping) && f.pool.depth() == 0).await;
    assert_eq!(f.journal.count("held"), 0);
    release.send(()).unwrap();
    until("held", || f.journal.count("held") == 1).await;
    assert_eq!((f.journal.count("1 starts"), f.journal.count("1 stops")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_crash_touches_nobody_else() {
    let f = fixture(settings()).await;
    f.count(1).await.unwrap();
    f.count(2).await.unwrap();
    f.crash(1).await;
    assert_eq!(f.view(1).unwrap().last_exit.unwrap().cause, ExitCause::Panic);
    assert_eq!(f.count(2).await, Ok(2));
    until("restarted", || f.state(1) == Some(ActorState::Idle)).await;
    assert_eq!(f.count(1).await, Ok(1));
    assert_eq!(f.tree.roster().get(f.pool.id()).unwrap().restarts, 0);
    assert_eq!(f.view(1).unwrap().restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_for_a_child_in_backoff_are_dropped_and_counted() {
    let f = fixture(settings()).await;
    f.count(1).await.unwrap();
    f.crash(1).await;
    f.route(1, ProbeMsg::Carry(Token(f.journal.clone())));
    assert!(matches!(f.count(1).await, Err(AskError::Dropped { .. })), "an asker knows at once");
    assert_eq!(f.journal.count("token dropped"), 1);
    assert_eq!(f.journal.count("carried"), 0);
    assert_eq!(f.view(1).unwrap().mailbox.rejected, 2);
    assert_eq!(f.tree.roster().metrics().kinds["probe"].rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_child_does_not_hold_the_pool_up() {
    let f = fixture(settings()).await;
    let _stuck = f.hold(1).await;
    for _ in 0..15 {
        f.route(1, ProbeMsg::Carry(Token(f.journal.clone())));
    }
    assert_eq!(f.count(2).await, Ok(1));
    assert_eq!(f.journal.count("token dropped"), 5);
    assert_eq!(f.view(1).unwrap().mailbox.depth, 10);
}

#[tokio::test(start_paused = true)]
async fn over_its_limit_the_pool_stops_the_longest_idle_child() {
    let f = fixture(PoolSettings { max_live: 3, ..settings() }).await;
    for key in [1, 2, 3] {
        f.count(key).await.unwrap();
        tokio::time::sleep(SECOND).await;
    }
    f.count(1).await.unwrap();
    assert_eq!(f.count(4).await, Ok(1));
    until("2 is gone", || f.view(2).is_none()).await;
    assert_eq!((f.count(1).await, f.count(3).await), (Ok(3), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn over_its_limit_with_all_at_work_the_pool_refuses() {
    let f = fixture(PoolSettings { max_live: 2, ..settings() }).await;
    let _one = f.hold(1).await;
    let two = f.hold(2).await;
    f.route(3, ProbeMsg::Carry(Token(f.journal.clone())));
    until("dropped", || f.journal.count("token dropped") == 1).await;
    assert!(f.view(3).is_none());
    assert_eq!(f.tree.roster().metrics().kinds["probe"].rejected, 1);
    two.send(()).unwrap();
    until("2 is idle", || f.state(2) == Some(ActorState::Idle)).await;
    assert_eq!(f.count(3).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_child_past_its_intensity_is_parked_until_reset_after() {
    let policy = RestartPolicy { intensity: 0, ..policy() };
    let f = fixture(PoolSettings { policy, ..settings() }).await;
    f.count(1).await.unwrap();
    f.count(2).await.unwrap();
    f.crash(1).await;
    assert_eq!(f.state(1), Some(ActorState::Failed));
    assert!(matches!(f.count(1).await, Err(AskError::Dropped { .. })));
    assert_eq!(f.count(2).await, Ok(2));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(f.count(1).await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(f.count(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_parked_child_is_restarted_on_request() {
    let policy = RestartPolicy { intensity: 0, ..policy() };
    let f = fixture(PoolSettings { policy, ..settings() }).await;
    f.count(1).await.unwrap();
    f.crash(1).await;
    f.tree.roster().restart(&f.id(1)).unwrap();
    until("up", || f.state(1) == Some(ActorState::Idle)).await;
    assert_eq!(f.count(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_parked_child_that_nobody_needs_is_forgotten() {
    let policy = RestartPolicy { intensity: 0, ..policy() };
    let f = fixture(PoolSettings { policy, ..settings() }).await;
    f.count(1).await.unwrap();
    f.crash(1).await;
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert!(f.view(1).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stuck_child_is_killed_after_its_stop_time_out() {
    let f = fixture(settings()).await;
    let _stuck = f.hold(1).await;
    f.pool.cast(PoolMsg::Restart { key: 1 }).unwrap();
    until("restarted", || f.journal.count("1 starts") == 2).await;
    assert_eq!(f.view(1).unwrap().last_exit.unwrap().cause, ExitCause::Killed);
    assert_eq!(f.count(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_is_that_childs_failure() {
    let f = fixture(settings()).await;
    f.count(2).await.unwrap();
    f.factory_fails.store(true, Ordering::Relaxed);
    f.route(1, ProbeMsg::Carry(Token(f.journal.clone())));
    until("backoff", || f.state(1) == Some(ActorState::Backoff)).await;
    assert_eq!(f.journal.count("token dropped"), 1);
    assert_eq!(f.count(2).await, Ok(2));
    f.factory_fails.store(false, Ordering::Relaxed);
    until("up", || f.state(1) == Some(ActorState::Idle)).await;
    assert_eq!(f.count(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn stopping_the_tree_stops_the_children_gracefully_and_reports_the_stuck_one() {
    let f = fixture(settings()).await;
    f.count(1).await.unwrap();
    f.count(2).await.unwrap();
    let _stuck = f.hold(3).await;
    let (stuck, journal) = (f.id(3), f.journal.clone());
    let report = f.tree.shutdown().await;
    assert_eq!(report.overdue, [stuck]);
    assert_eq!((journal.count("1 stops"), journal.count("2 stops")), (1, 1));
    assert_eq!(journal.count("3 stops"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_the_pool_itself_releases_what_its_children_held() {
    let f = fixture(settings()).await;
    let (_signal, until_told) = oneshot::channel();
    f.route(1, ProbeMsg::Task(until_told));
    let _stuck = f.hold(2).await;
    f.route(2, ProbeMsg::Carry(Token(f.journal.clone())));
    until("all is with its child", || f.view(2).is_some_and(|view| view.mailbox.depth == 1)).await;
    f.tree.roster().inject_panic(f.pool.id()).unwrap();
    // The task of the one and the message that waits for the other.
    until("released", || f.journal.count("token dropped") == 2).await;
    assert_eq!(f.journal.count("carried"), 0);
    until("up", || f.tree.roster().get(f.pool.id()).unwrap().state == ActorState::Idle).await;
    assert!(f.view(1).is_none());
    assert_eq!(f.count(1).await, Ok(1), "the same address, an empty pool");
}
