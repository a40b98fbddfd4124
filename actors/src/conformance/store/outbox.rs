//! The exam of the outbox: numbers without gaps, in commit order.

use std::sync::Arc;
use std::time::Duration;

use super::{StoreSubject, unchanged};
use crate::domain::{Event, EventNo, Scope, ScopeKey, TeamId};
use crate::ports::outbox::OutboxBounds;
use crate::ports::upkeep::Retention;
use crate::testkit::fixtures::{environments_of, replica_id};

const LEASE: Duration = Duration::from_secs(10);

fn names(events: &[Event]) -> Vec<(TeamId, EventNo)> {
    events.iter().filter_map(|event| Some((event.team_id, event.no?))).collect()
}

async fn commits(subject: &StoreSubject, team: i64, runs: std::ops::RangeInclusive<u64>) {
    for run in runs {
        let lease = subject.lease_again(environments_of(team), run).await;
        subject.apply(&unchanged(&lease)).await;
    }
}

/// Each team counts from one, and a cursor resumes after its number.
pub async fn numbers_have_no_gaps(subject: &StoreSubject) {
    subject.with_teams(&[1, 2]).await;
    assert_eq!(subject.outbox.bounds(TeamId(1)).await.unwrap(), None);
    commits(subject, 1, 1..=3).await;
    commits(subject, 2, 11..=12).await;
    let numbers: Vec<_> = names(&subject.events(TeamId(1)).await);
    assert_eq!(numbers, (1..=3).map(|no| (TeamId(1), EventNo(no))).collect::<Vec<_>>());
    let cursors = [(TeamId(2), EventNo(1)), (TeamId(1), EventNo(2))];
    let after = subject.outbox.after(&cursors, 100).await.unwrap();
    assert_eq!(names(&after), [(TeamId(1), EventNo(3)), (TeamId(2), EventNo(2))]);
    let first = subject.outbox.after(&[(TeamId(1), EventNo(0))], 2).await.unwrap();
    assert_eq!(names(&first), [(TeamId(1), EventNo(1)), (TeamId(1), EventNo(2))]);
    let bounds = OutboxBounds { first: EventNo(1), last: EventNo(3) };
    assert_eq!(subject.outbox.bounds(TeamId(1)).await.unwrap(), Some(bounds));
}

/// Commits of several scopes at once still number without gaps.
pub async fn concurrent_commits_number_without_gaps(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let mut commits = Vec::new();
    for (run, scope) in Scope::ALL.into_iter().enumerate() {
        let lease = subject.lease(ScopeKey::new(TeamId(1), scope), run as u64 + 1).await;
        let store = Arc::clone(&subject.store);
        let apply = unchanged(&lease);
        commits.push(tokio::spawn(async move { store.apply(&apply).await.unwrap() }));
    }
    for commit in commits {
        commit.await.expect("a commit panicked");
    }
    let numbers: Vec<_> =
        subject.events(TeamId(1)).await.iter().filter_map(|event| event.no).collect();
    assert_eq!(numbers, [EventNo(1), EventNo(2), EventNo(3)]);
}

/// One relay at a time; what was relayed is not offered again.
pub async fn one_replica_relays(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    commits(subject, 1, 1..=2).await;
    let (me, other) = (replica_id(1), replica_id(2));
    let waiting = subject.outbox.unrelayed(me, LEASE, 1).await.unwrap().expect("free");
    assert_eq!(names(&waiting), [(TeamId(1), EventNo(1))]);
    assert_eq!(subject.outbox.unrelayed(other, LEASE, 10).await.unwrap(), None);
    subject.outbox.relayed(&names(&waiting)).await.unwrap();
    let waiting = subject.outbox.unrelayed(me, LEASE, 10).await.unwrap().expect("kept");
    assert_eq!(names(&waiting), [(TeamId(1), EventNo(2))]);
    subject.pace.pass(LEASE + Duration::from_secs(1)).await;
    let taken = subject.outbox.unrelayed(other, LEASE, 10).await.unwrap().expect("expired");
    assert_eq!(names(&taken), [(TeamId(1), EventNo(2))], "unstamped, so it comes again");
    assert_eq!(subject.outbox.unrelayed(me, LEASE, 10).await.unwrap(), None);
}

/// Trimmed numbers are told by the bounds and are never given again.
pub async fn trimmed_events_leave_their_numbers(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    commits(subject, 1, 1..=2).await;
    let waiting = subject.outbox.unrelayed(replica_id(1), LEASE, 10).await.unwrap().unwrap();
    subject.outbox.relayed(&names(&waiting)).await.unwrap();
    subject.pace.pass(Duration::from_hours(8 * 24)).await;
    subject.upkeep.tidy(&Retention::default(), 1000).await.unwrap().expect("nobody else tidies");
    let bounds = OutboxBounds { first: EventNo(3), last: EventNo(2) };
    assert_eq!(subject.outbox.bounds(TeamId(1)).await.unwrap(), Some(bounds));
    commits(subject, 1, 3..=3).await;
    assert_eq!(names(&subject.events(TeamId(1)).await), [(TeamId(1), EventNo(3))]);
}

/// A removed team is told apart from one that is mirrored.
pub async fn a_removed_team_is_gone(subject: &StoreSubject) {
    subject.with_teams(&[1, 2]).await;
    let all = [TeamId(1), TeamId(2), TeamId(404)];
    assert_eq!(subject.outbox.gone(&all).await.unwrap(), [TeamId(404)]);
    subject.teams.remove(TeamId(1)).await.unwrap();
    let mut gone = subject.outbox.gone(&all).await.unwrap();
    gone.sort_unstable();
    assert_eq!(gone, [TeamId(1), TeamId(404)]);
    assert_eq!(subject.outbox.gone(&[]).await.unwrap(), []);
}

/// Tests of an [`Outbox`](crate::ports::outbox::Outbox) adapter.
#[macro_export]
macro_rules! outbox_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, outbox:
            numbers_have_no_gaps, concurrent_commits_number_without_gaps, one_replica_relays,
            trimmed_events_leave_their_numbers, a_removed_team_is_gone);
    };
}
