//! The exam of the due queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::Pace;
use crate::domain::job::Lane;
use crate::domain::{Class, JobId, Scope, ScopeKey, TeamId};
use crate::ports::due_queue::{DueEntry, DueQueue};

/// A due queue that is empty.
pub struct Subject {
    /// The adapter.
    pub queue: Arc<dyn DueQueue>,
    /// Its time.
    pub pace: Arc<dyn Pace>,
}

const LEASE: Duration = Duration::from_secs(30);

fn key(team: i64) -> ScopeKey {
    ScopeKey::new(TeamId(team), Scope::Environments)
}

fn entry(team: i64, class: Class, second: i64) -> DueEntry {
    let deadline = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    DueEntry {
        key: key(team),
        job: JobId(team),
        class,
        deadline: deadline + time::Duration::seconds(second),
        trace_parent: None,
    }
}

async fn popped(subject: &Subject, lane: Lane, limit: usize) -> Vec<i64> {
    let entries = subject.queue.pop(lane, limit, LEASE).await.unwrap();
    entries.into_iter().map(|entry| entry.key.team.0).collect()
}

/// Class before deadline, earliest deadline first, within one lane.
pub async fn the_most_urgent_goes_first(subject: &Subject) {
    let entries = [
        entry(1, Class::Demand, 0),
        entry(2, Class::Manual, 9),
        entry(3, Class::Manual, 5),
        entry(4, Class::Demand, 3),
    ];
    subject.queue.enqueue(&entries).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 2).await, [3, 2]);
    assert_eq!(popped(subject, Lane::High, 9).await, [1, 4]);
}

/// A pop of one lane leaves the others alone.
pub async fn lanes_are_apart(subject: &Subject) {
    let entries =
        [entry(1, Class::Backfill, 0), entry(2, Class::Retry, 0), entry(3, Class::Demand, 0)];
    subject.queue.enqueue(&entries).await.unwrap();
    assert_eq!(popped(subject, Lane::Normal, 9).await, [2]);
    assert_eq!(popped(subject, Lane::Low, 9).await, [1]);
    assert_eq!(popped(subject, Lane::High, 9).await, [3]);
    assert!(popped(subject, Lane::High, 9).await.is_empty());
}

/// The better score wins, whichever came first, with its own payload.
pub async fn a_second_entry_only_moves_forward(subject: &Subject) {
    let better = DueEntry { job: JobId(77), ..entry(1, Class::Manual, 0) };
    subject.queue.enqueue(&[entry(1, Class::Demand, 0)]).await.unwrap();
    subject.queue.enqueue(std::slice::from_ref(&better)).await.unwrap();
    subject.queue.enqueue(&[entry(1, Class::Demand, 0)]).await.unwrap();
    assert_eq!(subject.queue.depths().await.unwrap().high, 1);
    assert_eq!(subject.queue.pop(Lane::High, 9, LEASE).await.unwrap(), [better]);
}

/// Moving forward may mean changing lanes.
pub async fn a_raised_class_changes_the_lane(subject: &Subject) {
    subject.queue.enqueue(&[entry(1, Class::Schedule, 0)]).await.unwrap();
    subject.queue.enqueue(&[entry(1, Class::Manual, 0)]).await.unwrap();
    assert!(popped(subject, Lane::Normal, 9).await.is_empty());
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
}

/// Every field survives the way through the queue.
pub async fn an_entry_comes_out_as_it_went_in(subject: &Subject) {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let entry = DueEntry { trace_parent: Some(parent.to_owned()), ..entry(9, Class::Retry, 1) };
    subject.queue.enqueue(std::slice::from_ref(&entry)).await.unwrap();
    assert_eq!(subject.queue.pop(Lane::Normal, 1, LEASE).await.unwrap(), [entry]);
}

/// What was popped and confirmed never comes again.
pub async fn a_confirmed_entry_is_gone(subject: &Subject) {
    subject.queue.enqueue(&[entry(1, Class::Manual, 0)]).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    assert_eq!(subject.queue.depths().await.unwrap().in_flight, 1);
    subject.queue.confirm(&[key(1)]).await.unwrap();
    subject.queue.confirm(&[key(1), key(404)]).await.unwrap();
    subject.pace.pass(LEASE * 2).await;
    assert!(popped(subject, Lane::High, 9).await.is_empty());
    let depths = subject.queue.depths().await.unwrap();
    assert_eq!((depths.high, depths.in_flight), (0, 0));
}

/// What was popped and never confirmed comes again after its deadline, and
/// not before.
pub async fn an_unconfirmed_entry_comes_again(subject: &Subject) {
    subject.queue.enqueue(&[entry(1, Class::Manual, 0)]).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    subject.pace.pass(LEASE / 2).await;
    assert!(popped(subject, Lane::High, 9).await.is_empty());
    subject.pace.pass(LEASE).await;
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
}

/// Handing on failed: the entry is there again at once.
pub async fn an_entry_can_be_put_back(subject: &Subject) {
    subject.queue.enqueue(&[entry(1, Class::Manual, 0)]).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    subject.queue.put_back(&[key(1), key(404)]).await.unwrap();
    assert_eq!(subject.queue.depths().await.unwrap().in_flight, 0);
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
}

/// A scope that became due again while in flight is neither lost nor doubled.
pub async fn an_entry_may_return_while_in_flight(subject: &Subject) {
    subject.queue.enqueue(&[entry(1, Class::Demand, 0)]).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    subject.queue.enqueue(&[entry(1, Class::Manual, 0)]).await.unwrap();
    subject.queue.confirm(&[key(1)]).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    assert!(popped(subject, Lane::High, 9).await.is_empty());
}

/// What went back and what came meanwhile are one entry, with the better score.
pub async fn a_put_back_entry_keeps_the_better_score(subject: &Subject) {
    let urgent = DueEntry { job: JobId(77), ..entry(1, Class::Manual, 0) };
    subject.queue.enqueue(std::slice::from_ref(&urgent)).await.unwrap();
    assert_eq!(popped(subject, Lane::High, 9).await, [1]);
    subject.queue.enqueue(&[entry(1, Class::Schedule, 0)]).await.unwrap();
    subject.queue.put_back(&[key(1)]).await.unwrap();
    assert_eq!(subject.queue.pop(Lane::High, 9, LEASE).await.unwrap(), [urgent]);
    assert!(popped(subject, Lane::Normal, 9).await.is_empty());
}

/// The position counts what stands before, over all lanes.
pub async fn a_position_counts_what_is_ahead(subject: &Subject) {
    let entries =
        [entry(1, Class::Backfill, 0), entry(2, Class::Manual, 0), entry(3, Class::Manual, 1)];
    subject.queue.enqueue(&entries).await.unwrap();
    assert_eq!(subject.queue.position(key(2)).await.unwrap(), Some(0));
    assert_eq!(subject.queue.position(key(1)).await.unwrap(), Some(2));
    assert_eq!(subject.queue.position(key(404)).await.unwrap(), None);
}

/// Lengths by lane.
pub async fn depths_are_told_by_lane(subject: &Subject) {
    let entries =
        [entry(1, Class::Backfill, 0), entry(2, Class::Manual, 0), entry(3, Class::Demand, 0)];
    subject.queue.enqueue(&entries).await.unwrap();
    let depths = subject.queue.depths().await.unwrap();
    assert_eq!((depths.high, depths.normal, depths.low, depths.in_flight), (2, 0, 1, 0));
    assert_eq!(depths.lane(Lane::High), 2);
}

/// Eight dispatchers at once: each entry goes to one of them.
pub async fn eight_poppers_never_share_an_entry(subject: &Subject) {
    let entries: Vec<_> = (1..=800).map(|team| entry(team, Class::Schedule, team)).collect();
    subject.queue.enqueue(&entries).await.unwrap();
    let poppers = (0..8).map(|_| {
        let queue = Arc::clone(&subject.queue);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let batch = queue.pop(Lane::Normal, 7, LEASE).await.unwrap();
                if batch.is_empty() {
                    return mine;
                }
                mine.extend(batch.into_iter().map(|entry| entry.key));
                tokio::task::yield_now().await;
            }
        })
    });
    let all: Vec<ScopeKey> = futures_util::future::join_all(poppers)
        .await
        .into_iter()
        .flat_map(|mine| mine.expect("a popper panicked"))
        .collect();
    assert_eq!(all.len(), 800);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 800);
}

/// Tests of a [`DueQueue`] adapter; see [`conformance`](super).
#[macro_export]
macro_rules! due_queue_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, due_queue:
            the_most_urgent_goes_first, lanes_are_apart, a_second_entry_only_moves_forward,
            a_raised_class_changes_the_lane, an_entry_comes_out_as_it_went_in,
            a_confirmed_entry_is_gone, an_unconfirmed_entry_comes_again,
            an_entry_can_be_put_back, an_entry_may_return_while_in_flight,
            a_put_back_entry_keeps_the_better_score,
            a_position_counts_what_is_ahead, depths_are_told_by_lane,
            eight_poppers_never_share_an_entry);
    };
}
