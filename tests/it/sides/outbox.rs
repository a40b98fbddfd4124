//! Events in order, and one relay at a time.

use std::time::Duration;

use super::Side;
use uuid::Uuid;
use vz_sync::adapters::postgres::outbox::PgOutbox;
use vz_sync_actors::domain::{EventBody, EventNo, ReplicaId, TeamId};
use vz_sync_actors::ports::outbox::{Outbox, OutboxBounds};

const LEASE: Duration = Duration::from_secs(10);

/// Three events of team 1 and two of team 2, written in turns.
async fn told() -> (Side, PgOutbox) {
    let side = Side::with_teams(&[1, 2]).await;
    side.run("INSERT INTO sync_outbox (team_id, event_no, event_type, job_id, scope, payload, created_at)
                SELECT 1 + n % 2, 1 + n / 2, 'sync.failed', n, 'environments',
                       jsonb_build_object('job_id', n, 'scope', 'environments', 'state', 'failed', 'reason', 'r', 'message', 'm'),
                       now() - (10 - n) * interval '1 min'
                FROM generate_series(0, 4) n;
                UPDATE team_event_counters SET last_event_no = CASE team_id WHEN 1 THEN 3 ELSE 2 END").await;
    let outbox = PgOutbox::new(side.pool.clone());
    (side, outbox)
}

fn names(events: &[vz_sync_actors::domain::Event]) -> Vec<(i64, i64)> {
    events.iter().map(|event| (event.team_id.0, event.no.unwrap().0)).collect()
}

#[tokio::test]
async fn events_come_by_team_and_number_after_each_cursor() {
    let (_side, outbox) = told().await;
    let cursors = [(TeamId(2), EventNo(0)), (TeamId(1), EventNo(1))];
    let events = outbox.after(&cursors, 100).await.unwrap();
    assert_eq!(names(&events), [(1, 2), (1, 3), (2, 1), (2, 2)]);
    let EventBody::Failed(failed) = &events[0].body else { panic!("{:?}", events[0]) };
    assert_eq!((failed.reason.as_str(), failed.job_id.unwrap().0), ("r", 2));
    assert_eq!(names(&outbox.after(&cursors, 3).await.unwrap()), [(1, 2), (1, 3), (2, 1)]);
    assert_eq!(outbox.after(&[], 3).await.unwrap(), []);
    assert_eq!(outbox.after(&[(TeamId(1), EventNo(3))], 3).await.unwrap(), []);
}

#[tokio::test]
async fn bounds_tell_what_was_trimmed() {
    let (side, outbox) = told().await;
    let bounds = async || outbox.bounds(TeamId(1)).await.unwrap();
    let of = |first, last| Some(OutboxBounds { first: EventNo(first), last: EventNo(last) });
    assert_eq!(bounds().await, of(1, 3));
    side.run("DELETE FROM sync_outbox WHERE event_no = 1").await;
    assert_eq!(bounds().await, of(2, 3));
    side.run("DELETE FROM sync_outbox").await;
    assert_eq!(bounds().await, of(4, 3));
    side.run("UPDATE team_event_counters SET last_event_no = 0").await;
    assert_eq!(bounds().await, None);
    assert_eq!(outbox.bounds(TeamId(9)).await, Ok(None));
}

#[tokio::test]
async fn one_replica_relays_until_its_lease_ends() {
    let (side, outbox) = told().await;
    let (first, second) = (ReplicaId(Uuid::from_u128(1)), ReplicaId(Uuid::from_u128(2)));
    let events = outbox.unrelayed(first, LEASE, 100).await.unwrap().unwrap();
    assert_eq!(names(&events), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)], "oldest first");
    assert_eq!(outbox.unrelayed(second, LEASE, 100).await, Ok(None));

    outbox.relayed(&[(TeamId(1), EventNo(1)), (TeamId(2), EventNo(1))]).await.unwrap();
    let events = outbox.unrelayed(first, LEASE, 2).await.unwrap().unwrap();
    assert_eq!(names(&events), [(1, 2), (2, 2)], "the holder keeps its lease");

    side.run("UPDATE sync_outbox_relay SET lease_until = now()").await;
    assert_eq!(outbox.unrelayed(second, LEASE, 100).await.unwrap().unwrap().len(), 3);
    assert_eq!(outbox.unrelayed(first, LEASE, 100).await, Ok(None), "taken over");
    side.run("UPDATE sync_outbox SET relayed_at = now()").await;
    assert_eq!(outbox.unrelayed(second, LEASE, 100).await, Ok(Some(Vec::new())));
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_the_relay() {
    let (side, outbox) = told().await;
    for _ in 0..20 {
        side.run("UPDATE sync_outbox_relay SET lease_owner = NULL, lease_until = NULL").await;
        let asks = (0..4).map(|n| outbox.unrelayed(ReplicaId(Uuid::from_u128(n)), LEASE, 9));
        let answers = futures_util::future::try_join_all(asks).await.unwrap();
        assert_eq!(answers.iter().flatten().count(), 1);
    }
}
