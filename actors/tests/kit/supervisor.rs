//! The supervisor's contract.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use vz_sync_actors::kit::*;

use crate::probe::*;

const IDS: [&str; 3] = ["a", "b", "c"];

/// Three permanent probes.
async fn three(policy: RestartPolicy) -> (Supervised, Vec<Mailbox<ProbeMsg>>, Journal) {
    let (roster, journal) = (roster(), Journal::default());
    let mailboxes: Vec<_> = IDS.iter().map(|name| probe(name, 10, &roster)).collect();
    let child = |(mailbox, name)| {
        Child::permanent::<Probe>(mailbox, ProbeArgs::new(name, &journal), policy.clone())
    };
    let children = mailboxes.iter().zip(IDS).map(child).collect();
    let tree = Supervised::start(&roster, children).await.unwrap();
    (tree, mailboxes, journal)
}

fn restarts(mailbox: &Mailbox<ProbeMsg>) -> u32 {
    mailbox.vitals().view().restarts
}

async fn one_of(
    make: impl Fn(&Mailbox<ProbeMsg>, ProbeArgs) -> Child,
) -> (Supervised, Mailbox<ProbeMsg>, Journal) {
    let (roster, journal) = (roster(), Journal::default());
    let mailbox = probe("probe", 10, &roster);
    let child = make(&mailbox, ProbeArgs::new("probe", &journal));
    (Supervised::start(&roster, vec![child]).await.unwrap(), mailbox, journal)
}

#[tokio::test(start_paused = true)]
async fn an_address_survives_the_restart_and_refuses_meanwhile() {
    let (tree, mailbox, _) = one_probe(10, policy()).await;
    assert_eq!(count(&mailbox).await, Ok(1));
    assert_eq!(count(&mailbox).await, Ok(2));
    tree.roster().inject_panic(mailbox.id()).unwrap();
    until("backoff", || mailbox.vitals().state() == ActorState::Backoff).await;
    let refused = mailbox.cast(ProbeMsg::Note("down")).unwrap_err();
    let Why::Down { restart_in: Some(restart_in) } = refused.why else { panic!("{refused:?}") };
    assert!(restart_in > Duration::ZERO && restart_in <= Duration::from_millis(100));
    let view = mailbox.vitals().view();
    let exit = view.last_exit.unwrap();
    assert_eq!((exit.cause, exit.message.as_str()), (ExitCause::Panic, "injected panic"));
    assert!(view.next_restart_at.is_some());

    until("restarted", || restarts(&mailbox) == 1).await;
    assert_eq!(count(&mailbox).await, Ok(1), "the same address, a new state");
    assert_eq!(tree.roster().metrics().kinds["probe"].restarts["panic"], 1);
}

#[tokio::test(start_paused = true)]
async fn backoff_grows_up_to_its_cap() {
    let (tree, mailbox, _) = one_probe(10, policy()).await;
    let mut delays = Vec::new();
    for round in 0..6 {
        tree.roster().inject_error(mailbox.id()).unwrap();
        until("backoff", || mailbox.vitals().state() == ActorState::Backoff).await;
        // Half a poll early or late is the test's, not the supervisor's.
        delays.push((mailbox.vitals().restart_in().unwrap().as_millis() + 50) / 100);
        until("restarted", || restarts(&mailbox) == round + 1).await;
        assert_eq!(count(&mailbox).await, Ok(1));
    }
    assert_eq!(delays, [1, 2, 4, 8, 10, 10], "in tenths of a second");
}

#[tokio::test(start_paused = true)]
async fn one_childs_failure_never_touches_its_siblings() {
    let (tree, mailboxes, journal) = three(policy()).await;
    for round in 1..=20 {
        tree.roster().inject_panic(mailboxes[1].id()).unwrap();
        until("restarted", || restarts(&mailboxes[1]) == round).await;
        assert_eq!(count(&mailboxes[0]).await, Ok(round));
        assert_eq!(count(&mailboxes[2]).await, Ok(round));
    }
    assert_eq!((journal.count("a starts"), journal.count("c starts")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_child_past_its_intensity_fails_the_tree_and_nothing_else() {
    let policy = RestartPolicy { intensity: 3, ..policy() };
    let (tree, mailboxes, journal) = three(policy).await;
    for round in 1..=3 {
        tree.roster().inject_error(mailboxes[1].id()).unwrap();
        until("restarted", || restarts(&mailboxes[1]) == round).await;
        assert_eq!(count(&mailboxes[1]).await, Ok(1));
    }
    assert!(tree.failed().now_or_never().is_none(), "up to the intensity all is well");
    tree.roster().inject_error(mailboxes[1].id()).unwrap();
    let failure = tree.failed().await;
    assert_eq!(&failure.actor, mailboxes[1].id());
    assert_eq!(failure.reason, "injected error");
    assert_eq!(mailboxes[1].vitals().state(), ActorState::Failed);
    let why = mailboxes[1].cast(ProbeMsg::Note("gone")).unwrap_err().why;
    assert_eq!(why, Why::Down { restart_in: None });
    assert!(count(&mailboxes[0]).await.is_ok(), "the siblings run until they are stopped");
    tree.shutdown().await;
    assert_eq!(journal.count("a stops") + journal.count("c stops"), 2);
}

#[tokio::test(start_paused = true)]
async fn children_start_top_to_bottom_and_stop_bottom_to_top() {
    let (tree, mailboxes, journal) = three(policy()).await;
    assert_eq!(journal.lines(), ["a starts", "b starts", "c starts"]);
    let report = tree.shutdown().await;
    assert_eq!(journal.lines()[3..], ["c stops", "b stops", "a stops"]);
    let ids: Vec<String> = report.stopped.iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["root/c", "root/b", "root/a", "root"]);
    assert!(report.overdue.is_empty());
    assert!(mailboxes.iter().all(|m| m.vitals().state() == ActorState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_is_killed_after_its_time_out_and_reported() {
    let (tree, mailboxes, journal) = three(policy()).await;
    let _stuck = hold(&mailboxes[1]).await;
    let start = tokio::time::Instant::now();
    let report = tree.shutdown().await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(report.overdue, [mailboxes[1].id().clone()]);
    assert_eq!(journal.count("b stops"), 0, "a killed actor has no graceful stop");
    assert_eq!(journal.count("a stops"), 1, "the others still stop in order");
    let exit = mailboxes[1].vitals().view().last_exit.unwrap();
    assert_eq!(exit.cause, ExitCause::Killed);
}

#[tokio::test(start_paused = true)]
async fn a_failing_start_is_retried_with_backoff_and_holds_nobody_up() {
    let (roster, journal) = (roster(), Journal::default());
    let (bad, good) = (probe("bad", 10, &roster), probe("good", 10, &roster));
    let mut args = ProbeArgs::new("bad", &journal);
    args.plan = Arc::new(|before| match before {
        0 => panic!("start panics"),
        1 => Err(ActorError::new("start fails")),
        _ => Ok(()),
    });
    let children = vec![
        Child::permanent::<Probe>(&bad, args, policy()),
        Child::permanent::<Probe>(&good, ProbeArgs::new("good", &journal), policy()),
    ];
    let tree = Supervised::start(&roster, children).await.unwrap();
    assert_eq!(count(&good).await, Ok(1));
    let before = tokio::time::Instant::now();
    until("third try", || journal.count("bad starts") == 3).await;
    assert!(before.elapsed() > Duration::from_millis(250), "100 ms and 200 ms of backoff");
    assert_eq!(count(&bad).await, Ok(1));
    assert_eq!(bad.vitals().view().last_exit.unwrap().message, "start fails");
    let metrics = tree.roster().metrics();
    assert_eq!(metrics.kinds["probe"].restarts["panic"], 1);
    assert_eq!(metrics.kinds["probe"].restarts["error"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_killed_permanent_child_comes_back() {
    let (tree, mailbox, journal) = one_probe(10, policy()).await;
    let _stuck = hold(&mailbox).await;
    tree.roster().kill(mailbox.id()).unwrap();
    until("restarted", || restarts(&mailbox) == 1).await;
    assert_eq!(count(&mailbox).await, Ok(1));
    assert_eq!(mailbox.vitals().view().last_exit.unwrap().cause, ExitCause::Killed);
    assert_eq!(journal.count("probe stops"), 0, "no graceful stop on a kill");
}

#[tokio::test(start_paused = true)]
async fn a_clean_exit_brings_a_permanent_child_back_and_ends_a_transient_one() {
    let (tree, mailbox, journal) = one_probe(10, policy()).await;
    mailbox.cast(ProbeMsg::StopSelf).unwrap();
    until("restarted", || restarts(&mailbox) == 1).await;
    assert_eq!(journal.count("probe stops"), 1);
    drop(tree);

    let (tree, mailbox, _) = one_of(|m, a| Child::transient::<Probe>(m, a, policy())).await;
    tree.roster().kill(mailbox.id()).unwrap();
    until("restarted", || restarts(&mailbox) == 1).await;
    assert_eq!(count(&mailbox).await, Ok(1));
    mailbox.cast(ProbeMsg::StopSelf).unwrap();
    until("ended", || mailbox.vitals().state() == ActorState::Stopped).await;
    assert_eq!(mailbox.cast(ProbeMsg::Note("late")).unwrap_err().why, Why::Stopped);
    assert!(tree.failed().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_never_comes_back() {
    let (tree, mailbox, journal) = one_of(Child::temporary::<Probe>).await;
    tree.roster().inject_panic(mailbox.id()).unwrap();
    until("ended", || mailbox.vitals().state() == ActorState::Stopped).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(journal.count("probe starts"), 1);
    assert!(tree.failed().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_transient_child_past_its_intensity_stays_failed_and_the_tree_goes_on() {
    let (roster, journal) = (roster(), Journal::default());
    let (bad, good) = (probe("bad", 10, &roster), probe("good", 10, &roster));
    let policy = RestartPolicy { intensity: 2, ..policy() };
    let child = |mailbox, name| {
        Child::transient::<Probe>(mailbox, ProbeArgs::new(name, &journal), policy.clone())
    };
    let children = vec![child(&bad, "bad"), child(&good, "good")];
    let tree = Supervised::start(&roster, children).await.unwrap();
    for round in 1..=2 {
        tree.roster().inject_panic(bad.id()).unwrap();
        until("restarted", || restarts(&bad) == round).await;
        assert_eq!(count(&bad).await, Ok(1));
    }
    tree.roster().inject_panic(bad.id()).unwrap();
    until("failed", || bad.vitals().state() == ActorState::Failed).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(journal.count("bad starts"), 3, "nobody starts it again");
    let why = bad.cast(ProbeMsg::Note("gone")).unwrap_err().why;
    assert_eq!(why, Why::Down { restart_in: None });
    assert!(tree.failed().now_or_never().is_none(), "only a permanent child fails the tree");
    assert_eq!(count(&good).await, Ok(1));
    let report = tree.shutdown().await;
    assert!(report.overdue.is_empty());
    assert_eq!((journal.count("good stops"), journal.count("bad stops")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn each_child_has_the_time_to_stop_that_it_asked_for() {
    let (roster, journal) = (roster(), Journal::default());
    let mailboxes: Vec<_> = IDS.iter().map(|name| probe(name, 10, &roster)).collect();
    let child = |index: usize| {
        let args = ProbeArgs::new(IDS[index], &journal);
        Child::permanent::<Probe>(&mailboxes[index], args, policy())
    };
    let (short, long) = (SECOND, Duration::from_secs(20));
    let children = vec![child(0).stop_timeout(long), child(1), child(2).stop_timeout(short)];
    let tree = Supervised::start(&roster, children).await.unwrap();
    let (slow, _stuck) = (hold(&mailboxes[0]).await, hold(&mailboxes[2]).await);
    let began = tokio::time::Instant::now();
    // Longer than the default, shorter than what it asked for.
    let let_go = async {
        tokio::time::sleep(short + Duration::from_secs(15)).await;
        slow.send(()).unwrap();
    };
    let (report, ()) = tokio::join!(tree.shutdown(), let_go);
    assert_eq!(report.overdue, [mailboxes[2].id().clone()]);
    assert_eq!(began.elapsed(), short + Duration::from_secs(15));
    assert_eq!((journal.count("a stops"), journal.count("c stops")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_dropped_still_ends_in_order() {
    let (tree, mailboxes, journal) = three(policy()).await;
    drop(tree);
    let ended = || mailboxes.iter().all(|m| m.vitals().state() == ActorState::Stopped);
    until("all stopped", ended).await;
    assert_eq!(journal.lines()[3..], ["c stops", "b stops", "a stops"]);
    let why = mailboxes[0].cast(ProbeMsg::Note("gone")).unwrap_err().why;
    assert_eq!(why, Why::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_holds_the_next_child_up_for_so_long_only() {
    let (roster, journal) = (roster(), Journal::default());
    let (slow, next) = (probe("slow", 10, &roster), probe("next", 10, &roster));
    let go_on = Arc::new(tokio::sync::Notify::new());
    let args = ProbeArgs { hang: Some(go_on.clone()), ..ProbeArgs::new("slow", &journal) };
    let children = vec![
        Child::permanent::<Probe>(&slow, args, policy()),
        Child::permanent::<Probe>(&next, ProbeArgs::new("next", &journal), policy()),
    ];
    let began = tokio::time::Instant::now();
    let tree = Supervised::start(&roster, children).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(journal.lines(), ["slow starts", "next starts"]);
    assert_eq!(slow.vitals().state(), ActorState::Starting);
    assert_eq!(count(&next).await, Ok(1));
    slow.cast(ProbeMsg::Note("waited")).unwrap();
    assert!(tree.is_alive(SECOND).await, "the supervisor does not wait for it");
    go_on.notify_one();
    until("handled", || journal.count("waited") == 1).await;
    assert_eq!((restarts(&slow), count(&slow).await), (0, Ok(2)));
    assert!(tree.shutdown().await.overdue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_on_request_stops_gracefully_and_forgets_past_exits() {
    let policy = RestartPolicy { intensity: 1, ..policy() };
    let (tree, mailbox, journal) = one_probe(10, policy).await;
    for round in 0..3 {
        tree.roster().inject_error(mailbox.id()).unwrap();
        until("backoff", || mailbox.vitals().state() == ActorState::Backoff).await;
        let before = tokio::time::Instant::now();
        tree.roster().restart(mailbox.id()).unwrap();
        until("up", || mailbox.vitals().state() == ActorState::Idle).await;
        assert!(before.elapsed() < Duration::from_millis(50), "the backoff is cut short");
        assert_eq!(restarts(&mailbox), 2 * round + 1);
        tree.roster().restart(mailbox.id()).unwrap();
        until("restarted", || restarts(&mailbox) == 2 * round + 2).await;
        assert_eq!(count(&mailbox).await, Ok(1));
        assert_eq!(journal.count("probe stops"), round as usize + 1);
    }
    assert!(tree.failed().now_or_never().is_none(), "three exits, but never two in a row");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_child_is_restarted_on_request_after_its_stop_time_out() {
    let (tree, mailbox, _) = one_probe(10, policy()).await;
    let _stuck = hold(&mailbox).await;
    tree.roster().restart(mailbox.id()).unwrap();
    until("stopping", || mailbox.vitals().state() == ActorState::Stopping).await;
    assert!(tree.is_alive(SECOND).await, "the supervisor does not wait for it");
    until("restarted", || restarts(&mailbox) == 1).await;
    assert_eq!(count(&mailbox).await, Ok(1));
    let exit = mailbox.vitals().view().last_exit.unwrap();
    assert_eq!((exit.cause, exit.message.as_str()), (ExitCause::Killed, "did not stop within 5s"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_supervisor_itself_is_a_failure_of_the_tree() {
    let (tree, _, _) = one_probe(10, policy()).await;
    assert!(tree.is_alive(SECOND).await);
    tree.roster().kill(&ActorId::root()).unwrap();
    assert_eq!(tree.failed().await.actor, ActorId::root());
    assert!(!tree.is_alive(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn unknown_actors_and_the_root_are_not_restarted() {
    let (tree, _, _) = one_probe(10, policy()).await;
    let nobody = ActorId::from("root/nobody");
    assert_eq!(tree.roster().restart(&nobody), Err(ControlError::Unknown(nobody)));
    assert_eq!(
        tree.roster().restart(&ActorId::root()),
        Err(ControlError::NoOwner(ActorId::root()))
    );
}
