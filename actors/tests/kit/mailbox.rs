//! The address: bounded, exact in its depth, honest about why it refuses.

use std::time::Duration;

use vz_sync_actors::kit::*;

use crate::probe::*;

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_at_once_and_counts() {
    let (tree, mailbox, journal) = one_probe(3, policy()).await;
    let release = hold(&mailbox).await;
    for _ in 0..3 {
        mailbox.cast(ProbeMsg::Note("taken")).unwrap();
    }
    let refused = mailbox.cast(ProbeMsg::Note("too many")).unwrap_err();
    assert_eq!(refused.why, Why::Full { bound: 3 });
    assert!(matches!(refused.message, ProbeMsg::Note("too many")), "the message comes back");
    assert_eq!(mailbox.depth(), 3);

    release.send(()).unwrap();
    assert_eq!(
        mailbox.ask(SECOND, ProbeMsg::Count).await.unwrap_err(),
        AskError::Refused { to: mailbox.id().clone(), why: Why::Full { bound: 3 } }
    );
    until("empty", || mailbox.depth() == 0).await;
    mailbox.cast(ProbeMsg::Note("taken again")).unwrap();
    until("handled", || journal.count("taken again") == 1).await;
    assert_eq!(journal.count("taken"), 3);
    assert_eq!(journal.count("too many"), 0);
    let view = mailbox.vitals().view();
    assert_eq!((view.mailbox.rejected, view.mailbox.high_water), (2, 3));
    assert_eq!(tree.roster().metrics().kinds["probe"].rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn depth_is_exact_after_a_crash_with_a_backlog() {
    let (tree, mailbox, journal) = one_probe(1000, policy()).await;
    let release = hold(&mailbox).await;
    tree.roster().inject_panic(mailbox.id()).unwrap();
    for _ in 0..500 {
        mailbox.cast(ProbeMsg::Carry(Token(journal.clone()))).unwrap();
    }
    assert_eq!(mailbox.depth(), 501);
    assert_eq!(tree.roster().metrics().kinds["probe"].depth, 501);
    release.send(()).unwrap();
    until("restarted", || mailbox.vitals().view().restarts == 1).await;
    assert_eq!(mailbox.depth(), 0);
    assert_eq!(mailbox.oldest_age(), None);
    assert_eq!(journal.count("carried"), 0, "ractor drops the backlog");
    assert_eq!(journal.count("token dropped"), 500, "and each message is told");
    assert_eq!(count(&mailbox).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn depth_is_exact_after_a_kill_with_a_backlog() {
    let (tree, mailbox, journal) = one_probe(1000, policy()).await;
    let _release = hold(&mailbox).await;
    for _ in 0..500 {
        mailbox.cast(ProbeMsg::Carry(Token(journal.clone()))).unwrap();
    }
    tree.roster().kill(mailbox.id()).unwrap();
    until("restarted", || mailbox.vitals().view().restarts == 1).await;
    assert_eq!(mailbox.depth(), 0);
    assert_eq!(journal.count("token dropped"), 500);
    assert!(mailbox.vitals().view().current_message.is_none(), "the killed message is not in hand");
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_ask_is_not_handled_for_nobody() {
    let (_tree, mailbox, journal) = one_probe(10, policy()).await;
    let release = hold(&mailbox).await;
    let error = count(&mailbox).await.unwrap_err();
    assert_eq!(error, AskError::TimedOut { to: mailbox.id().clone(), after: SECOND });
    assert_eq!(mailbox.depth(), 1, "it still waits");
    // The control: a message without an asker is handled however late.
    mailbox.cast(ProbeMsg::Note("late")).unwrap();
    release.send(()).unwrap();
    until("late", || journal.count("late") == 1).await;
    assert_eq!(count(&mailbox).await, Ok(3), "hold, note and this: the abandoned one is skipped");
}

#[tokio::test(start_paused = true)]
async fn an_ask_whose_reply_is_dropped_fails_at_once() {
    let (_tree, mailbox, _) = one_probe(10, policy()).await;
    let error = mailbox.ask(SECOND, ProbeMsg::Ignore).await.unwrap_err();
    assert_eq!(error, AskError::Dropped { to: mailbox.id().clone() });
}

#[tokio::test(start_paused = true)]
async fn a_stuck_actor_is_visible() {
    let (tree, mailbox, _) = one_probe(10, policy()).await;
    let _release = hold(&mailbox).await;
    let before = mailbox.vitals().view().current_message.unwrap().since_ms;
    mailbox.cast(ProbeMsg::Note("waits")).unwrap();
    tokio::time::sleep(Duration::from_secs(90)).await;
    let view = tree.roster().get(mailbox.id()).unwrap();
    assert_eq!(view.state, ActorState::Busy);
    let current = view.current_message.unwrap();
    assert_eq!((current.name, current.since_ms), ("hold", before + 90_000));
    assert_eq!((view.mailbox.depth, view.mailbox.oldest_ms), (1, Some(90_000)));
    assert_eq!(mailbox.oldest_age(), Some(Duration::from_secs(90)));
}

#[tokio::test(start_paused = true)]
async fn an_address_without_an_actor_refuses_as_down_and_afterwards_as_stopped() {
    let roster = roster();
    let mailbox = probe("early", 10, &roster);
    let why = mailbox.cast(ProbeMsg::Note("early")).unwrap_err().why;
    assert_eq!(why, Why::Down { restart_in: None });

    let (tree, mailbox, _) = one_probe(10, policy()).await;
    tree.shutdown().await;
    assert_eq!(mailbox.cast(ProbeMsg::Note("late")).unwrap_err().why, Why::Stopped);
}
