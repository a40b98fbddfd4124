//! What an operator sees: the tree's JSON is a golden test, and the metrics add up.

use std::time::Duration;

use vz_sync_actors::kit::*;

use crate::probe::*;

#[tokio::test(start_paused = true)]
async fn the_trees_json_is_what_it_was() {
    let (roster, journal) = (roster(), Journal::default());
    let args = |name: &str| ProbeArgs::new(name, &journal);
    let pool =
        Mailbox::new::<Pool<String, Probe>>(ActorId::root().child("team_pool"), 100, &roster);
    let (busy, failing) = (probe("busy", 5, &roster), probe("a_failing", 5, &roster));
    let made = journal.clone();
    let pool_args = PoolArgs::<String, Probe>::new(PoolSettings::default(), move |key| {
        ProbeArgs::new(key.clone(), &made)
    });
    let slow =
        RestartPolicy { base: Duration::from_secs(20), cap: Duration::from_secs(20), ..policy() };
    let children = vec![
        Child::permanent::<Probe>(&busy, args("busy"), policy()),
        Child::permanent::<Pool<String, Probe>>(&pool, pool_args, policy()),
        Child::permanent::<Probe>(&failing, args("failing"), slow),
    ];
    let tree = Supervised::start(&roster, children).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    for key in ["42:environments", "7:environments", "7:a/b"] {
        let (key, message) = (key.to_owned(), ProbeMsg::Note("hello"));
        pool.cast(PoolMsg::Route { key, message }).unwrap();
    }
    roster.inject_error(failing.id()).unwrap();
    let _release = hold(&busy).await;
    busy.cast(ProbeMsg::Note("waits")).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    insta::assert_json_snapshot!(roster.tree());
    drop(tree);
}

#[tokio::test(start_paused = true)]
async fn waiting_and_handling_are_measured_by_kind_and_message() {
    let (tree, mailbox, _) = one_probe(10, policy()).await;
    let release = hold(&mailbox).await;
    mailbox.cast(ProbeMsg::Note("waits")).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    release.send(()).unwrap();
    until("empty", || mailbox.vitals().idle_for().is_some()).await;
    let metrics = tree.roster().metrics();
    let kind = &metrics.kinds["probe"];
    assert_eq!(kind.wait.count, 2);
    assert!((kind.wait.sum_seconds - 2.0).abs() < 0.1, "{}", kind.wait.sum_seconds);
    assert_eq!(kind.handle.keys().copied().collect::<Vec<_>>(), ["hold", "note"]);
    let hold = &kind.handle["hold"];
    let bucket = metrics::BUCKETS.iter().position(|bound| *bound >= 2.0).unwrap();
    assert_eq!((hold.count, hold.counts[bucket]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn two_engines_in_one_process_do_not_see_each_other() {
    let (one, _, _) = one_probe(10, policy()).await;
    let (two, mailbox, _) = one_probe(10, policy()).await;
    two.roster().inject_panic(mailbox.id()).unwrap();
    until("restarted", || mailbox.vitals().view().restarts == 1).await;
    assert_eq!(one.roster().get(mailbox.id()).unwrap().restarts, 0);
    assert!(one.roster().metrics().kinds["probe"].restarts.is_empty());
}
