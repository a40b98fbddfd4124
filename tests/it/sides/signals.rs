//! Wake-ups between replicas, over connections that break.

use std::time::Duration;

use super::Side;
use tokio::time::timeout;
use uuid::Uuid;
use vz_sync::adapters::postgres::signals::{APPLICATION, PgSignals};
use vz_sync_actors::domain::{ReplicaId, TeamId};
use vz_sync_actors::ports::signals::{Heard, Signal, SignalListener, Signals};
use vz_sync_actors::ports::teams::Teams as _;

const PATIENCE: Duration = Duration::from_secs(20);

async fn replica(side: &Side, n: u128) -> PgSignals {
    let signals = PgSignals::new(side.database.config(), ReplicaId(Uuid::from_u128(n)));
    timeout(PATIENCE, signals.connected()).await.unwrap();
    signals
}

async fn next(listener: &mut Box<dyn SignalListener>) -> Heard {
    timeout(PATIENCE, listener.next()).await.expect("a signal")
}

#[tokio::test]
async fn every_replica_hears_a_signal_once() {
    let side = Side::new().await;
    let (one, two) = (replica(&side, 1).await, replica(&side, 2).await);
    let (mut mine, mut theirs) = (one.listen(), two.listen());
    one.send(Signal::Outbox(TeamId(42)));
    assert_eq!(next(&mut theirs).await, Heard::Signal(Signal::Outbox(TeamId(42))));
    // The other one's answer comes after the echo, which is therefore not heard.
    two.send(Signal::QueueMoved);
    assert_eq!(next(&mut mine).await, Heard::Signal(Signal::Outbox(TeamId(42))));
    assert_eq!(next(&mut mine).await, Heard::Signal(Signal::QueueMoved));
}

#[tokio::test]
async fn a_burst_travels_as_one() {
    let side = Side::new().await;
    let (one, two) = (replica(&side, 1).await, replica(&side, 2).await);
    let mut theirs = two.listen();
    for _ in 0..500 {
        one.send(Signal::StatesDue);
    }
    one.send(Signal::RunsChanged(TeamId(1)));
    let mut heard = 0;
    let mut last = false;
    // A set has no order: the two may come either way round.
    while !(last && heard > 0) {
        match next(&mut theirs).await {
            Heard::Signal(Signal::StatesDue) => heard += 1,
            Heard::Signal(Signal::RunsChanged(_)) => last = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(heard < 10, "{heard} of 500");
}

#[tokio::test]
async fn a_dropped_connection_is_made_anew_and_told_as_lagged() {
    let side = Side::new().await;
    let (one, two) = (replica(&side, 1).await, replica(&side, 2).await);
    let mut theirs = two.listen();
    let killed: i64 = side
        .value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()",
            &[&APPLICATION],
        )
        .await;
    assert_eq!(killed, 2);
    assert_eq!(next(&mut theirs).await, Heard::Lagged);
    timeout(PATIENCE, one.connected()).await.unwrap();
    one.send(Signal::StatesDue);
    assert_eq!(next(&mut theirs).await, Heard::Signal(Signal::StatesDue));
}

#[tokio::test]
async fn what_a_transaction_tells_reaches_its_own_replica_too() {
    let side = Side::with_teams(&[1]).await;
    let one = replica(&side, 1).await;
    let mut mine = one.listen();
    side.teams().remove(TeamId(1)).await.unwrap();
    assert_eq!(next(&mut mine).await, Heard::Signal(Signal::RunsChanged(TeamId(1))));
    side.run("NOTIFY vz_sync, 'a word of a newer version'; NOTIFY vz_sync, 'outbox:7'").await;
    assert_eq!(next(&mut mine).await, Heard::Signal(Signal::Outbox(TeamId(7))));
    drop(one);
    assert_eq!(next(&mut mine).await, Heard::Closed);
}
