//! Tracked tasks always report, and timers and tasks end with their incarnation.

use std::time::Duration;

use tokio::sync::oneshot;
use vz_sync_actors::kit::*;

use crate::probe::*;

async fn with_task() -> (Supervised, Mailbox<ProbeMsg>, Journal, oneshot::Sender<()>) {
    let (tree, mailbox, journal) = one_probe(10, policy()).await;
    let (signal, until) = oneshot::channel();
    mailbox.cast(ProbeMsg::Task(until)).unwrap();
    assert_eq!(count(&mailbox).await, Ok(2), "the actor stays free while the task runs");
    (tree, mailbox, journal, signal)
}

#[tokio::test(start_paused = true)]
async fn a_task_reports_its_result() {
    let (_tree, mailbox, journal, signal) = with_task().await;
    assert_eq!(mailbox.vitals().state(), ActorState::Busy, "a running task is work");
    signal.send(()).unwrap();
    until("report", || journal.count("Done(\"done\")") == 1).await;
    until("idle", || mailbox.vitals().state() == ActorState::Idle).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_reports_and_does_not_end_its_actor() {
    let (_tree, mailbox, journal, signal) = with_task().await;
    drop(signal);
    until("report", || journal.lines().iter().any(|l| l.contains("told to panic"))).await;
    assert_eq!(mailbox.vitals().view().restarts, 0);
    assert_eq!(mailbox.vitals().view().tasks, 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_aborts_the_task_and_still_reports() {
    let (_tree, mailbox, journal, _signal) = with_task().await;
    mailbox.cast(ProbeMsg::DropTask).unwrap();
    until("report", || journal.count("Aborted") == 1).await;
    assert_eq!(journal.count("token dropped"), 1, "what the task held is released");
}

#[tokio::test(start_paused = true)]
async fn a_crash_aborts_the_tasks_and_the_next_incarnation_hears_nothing_of_them() {
    let (tree, mailbox, journal, _signal) = with_task().await;
    tree.roster().inject_error(mailbox.id()).unwrap();
    until("aborted", || journal.count("token dropped") == 1).await;
    until("restarted", || mailbox.vitals().view().restarts == 1).await;
    assert_eq!(count(&mailbox).await, Ok(1));
    assert_eq!(journal.count("Aborted"), 0);
    assert_eq!(mailbox.vitals().view().tasks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_kill_aborts_the_tasks_too() {
    let (tree, mailbox, journal, _signal) = with_task().await;
    tree.roster().kill(mailbox.id()).unwrap();
    until("aborted", || journal.count("token dropped") == 1).await;
    until("no task", || mailbox.vitals().view().tasks == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_and_not_after_it_was_called_off() {
    let (_tree, mailbox, journal) = one_probe(10, policy()).await;
    mailbox.cast(ProbeMsg::Arm(Duration::from_secs(5))).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(journal.count("tick"), 1);

    mailbox.cast(ProbeMsg::Arm(Duration::from_secs(5))).unwrap();
    mailbox.cast(ProbeMsg::Disarm).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(journal.count("tick"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_waits_behind_its_own_disarming_is_not_handled() {
    let (_tree, mailbox, journal) = one_probe(10, policy()).await;
    mailbox.cast(ProbeMsg::Arm(Duration::from_secs(5))).unwrap();
    let release = hold(&mailbox).await;
    mailbox.cast(ProbeMsg::Disarm).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(mailbox.depth(), 2, "the disarming, and the tick behind it");
    release.send(()).unwrap();
    until("empty", || mailbox.depth() == 0).await;
    assert_eq!(count(&mailbox).await, Ok(4), "arm, hold, disarm and this");
    assert_eq!(journal.count("tick"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_a_crashed_incarnation_never_speaks_to_the_next_one() {
    let (tree, mailbox, journal) = one_probe(10, policy()).await;
    mailbox.cast(ProbeMsg::Arm(Duration::from_secs(5))).unwrap();
    tree.roster().inject_panic(mailbox.id()).unwrap();
    until("restarted", || mailbox.vitals().view().restarts == 1).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(journal.count("tick"), 0);
    assert_eq!(count(&mailbox).await, Ok(1));
}
