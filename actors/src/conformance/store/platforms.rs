//! The exam of the platforms' gates.

use std::sync::Arc;
use std::time::Duration;

use super::StoreSubject;
use crate::domain::PlatformId;
use crate::ports::platforms::{Circuit, PlatformGate};
use crate::testkit::fixtures::replica_id;

const OPEN_FOR: Duration = Duration::from_mins(1);
const WHY: &str = "getenvs got no connection in time";

async fn platform(subject: &StoreSubject) -> PlatformId {
    subject.with_teams(&[1]).await;
    subject.teams.list().await.unwrap()[0].platform
}

async fn gate(subject: &StoreSubject) -> PlatformGate {
    subject.platforms.gates().await.unwrap().remove(0)
}

/// The threshold-th failure in a row opens the circuit; an answer forgets.
pub async fn failures_in_a_row_open_the_circuit(subject: &StoreSubject) {
    let id = platform(subject).await;
    let fail = || subject.platforms.connection_failed(id, 3, OPEN_FOR, WHY);
    assert!(!fail().await.unwrap());
    assert!(!fail().await.unwrap());
    subject.platforms.answered(id).await.unwrap();
    assert_eq!(gate(subject).await.consecutive_failures, 0);
    assert!(!fail().await.unwrap());
    assert!(!fail().await.unwrap());
    let closed = gate(subject).await;
    assert_eq!((closed.circuit, closed.last_error), (Circuit::Closed, None));
    assert!(fail().await.unwrap());
    let gate = gate(subject).await;
    assert_eq!(gate.circuit, Circuit::Open);
    assert!(gate.open_until.is_some());
    assert_eq!(gate.last_error.as_deref(), Some(WHY), "what opened it is kept");
    subject.platforms.answered(id).await.unwrap();
    let gate = self::gate(subject).await;
    assert_eq!((gate.circuit, gate.open_until), (Circuit::Closed, None));
    assert_eq!(gate.last_error, None);
}

/// One probe, when its time has come; its failure opens the circuit again.
pub async fn one_replica_probes(subject: &StoreSubject) {
    let id = platform(subject).await;
    assert!(!subject.platforms.take_probe(id, replica_id(1)).await.unwrap(), "it is closed");
    subject.platforms.connection_failed(id, 1, OPEN_FOR, WHY).await.unwrap();
    assert!(!subject.platforms.take_probe(id, replica_id(1)).await.unwrap(), "too early");
    subject.pace.pass(OPEN_FOR + Duration::from_secs(1)).await;
    let takers = (1..=8).map(|n| {
        let platforms = Arc::clone(&subject.platforms);
        tokio::spawn(async move { platforms.take_probe(id, replica_id(n)).await.unwrap() })
    });
    let won = futures_util::future::join_all(takers).await;
    assert_eq!(won.into_iter().filter(|won| matches!(won, Ok(true))).count(), 1);
    assert_eq!(gate(subject).await.circuit, Circuit::HalfOpen);
    assert!(subject.platforms.connection_failed(id, 5, OPEN_FOR, WHY).await.unwrap());
    assert_eq!(gate(subject).await.circuit, Circuit::Open);
    assert!(!subject.platforms.take_probe(id, replica_id(1)).await.unwrap());
    subject.pace.pass(OPEN_FOR + Duration::from_secs(1)).await;
    assert!(subject.platforms.take_probe(id, replica_id(1)).await.unwrap());
    subject.platforms.answered(id).await.unwrap();
    assert_eq!(gate(subject).await.circuit, Circuit::Closed);
}

/// A probe that never comes back does not block for ever.
pub async fn a_lost_probe_can_be_taken_again(subject: &StoreSubject) {
    let id = platform(subject).await;
    subject.platforms.connection_failed(id, 1, OPEN_FOR, WHY).await.unwrap();
    subject.pace.pass(OPEN_FOR + Duration::from_secs(1)).await;
    assert!(subject.platforms.take_probe(id, replica_id(1)).await.unwrap());
    subject.pace.pass(Duration::from_mins(10)).await;
    assert!(subject.platforms.take_probe(id, replica_id(2)).await.unwrap());
}

/// Patience is shared, and the longer wish wins.
pub async fn patience_is_shared(subject: &StoreSubject) {
    let id = platform(subject).await;
    assert_eq!(gate(subject).await.throttled_for, Duration::ZERO);
    subject.platforms.throttled(id, Duration::from_mins(1)).await.unwrap();
    subject.platforms.throttled(id, Duration::from_secs(5)).await.unwrap();
    let left = gate(subject).await.throttled_for;
    assert!(left > Duration::from_secs(50) && left <= Duration::from_mins(1), "{left:?}");
    subject.pace.pass(Duration::from_secs(61)).await;
    assert_eq!(gate(subject).await.throttled_for, Duration::ZERO);
}

/// Tests of a [`Platforms`](crate::ports::platforms::Platforms) adapter.
#[macro_export]
macro_rules! platforms_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, platforms:
            failures_in_a_row_open_the_circuit, one_replica_probes,
            a_lost_probe_can_be_taken_again, patience_is_shared);
    };
}
