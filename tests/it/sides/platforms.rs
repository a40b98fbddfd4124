//! The circuit of a platform under two replicas, and its patience.

use std::time::Duration;

use super::Side;
use uuid::Uuid;
use vz_sync::adapters::postgres::platforms::PgPlatforms;
use vz_sync_actors::domain::{PlatformId, ReplicaId};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::platforms::{Circuit, PlatformGate, Platforms};

const PLATFORM: PlatformId = PlatformId(1);
const OPEN_FOR: Duration = Duration::from_secs(60);
const WHY: &str = "getenvs got no connection in time";

async fn gate(platforms: &PgPlatforms) -> PlatformGate {
    platforms.gates().await.unwrap().remove(0)
}

fn replica(n: u128) -> ReplicaId {
    ReplicaId(Uuid::from_u128(n))
}

#[tokio::test]
async fn a_circuit_opens_is_probed_by_one_and_closes() {
    let side = Side::with_teams(&[1]).await;
    // Two replicas are two pools' worth of adapters over the same row.
    let (one, two) = (PgPlatforms::new(side.pool.clone()), PgPlatforms::new(side.pool.clone()));
    for n in 1..=4 {
        let by = if n % 2 == 0 { &one } else { &two };
        assert_eq!(by.connection_failed(PLATFORM, 5, OPEN_FOR, WHY).await, Ok(false));
    }
    assert_eq!(one.connection_failed(PLATFORM, 5, OPEN_FOR, WHY).await, Ok(true));
    let opened = gate(&two).await;
    assert_eq!((opened.circuit, opened.consecutive_failures), (Circuit::Open, 5));
    assert_eq!(one.take_probe(PLATFORM, replica(1)).await, Ok(false), "not yet");

    // A straggler neither closes nor prolongs.
    assert_eq!(two.connection_failed(PLATFORM, 5, OPEN_FOR * 9, WHY).await, Ok(true));
    assert_eq!(gate(&one).await.open_until, opened.open_until);

    side.run("UPDATE vz_platforms SET open_until = now()").await;
    let (a, b) =
        tokio::join!(one.take_probe(PLATFORM, replica(1)), two.take_probe(PLATFORM, replica(2)));
    assert_ne!(a, b, "one of both");
    assert_eq!(gate(&one).await.circuit, Circuit::HalfOpen);
    // The probe fails at once: open again, whatever the threshold.
    assert_eq!(one.connection_failed(PLATFORM, 100, OPEN_FOR, WHY).await, Ok(true));
    assert_eq!(gate(&one).await.circuit, Circuit::Open);

    side.run("UPDATE vz_platforms SET open_until = now()").await;
    assert_eq!(two.take_probe(PLATFORM, replica(2)).await, Ok(true));
    two.answered(PLATFORM).await.unwrap();
    let closed = gate(&one).await;
    assert_eq!(
        (closed.circuit, closed.consecutive_failures, closed.open_until),
        (Circuit::Closed, 0, None)
    );
    assert_eq!(one.take_probe(PLATFORM, replica(1)).await, Ok(false));
}

#[tokio::test]
async fn a_probe_that_is_never_heard_of_again_is_replaced() {
    let side = Side::with_teams(&[1]).await;
    let platforms = PgPlatforms::new(side.pool.clone());
    platforms.connection_failed(PLATFORM, 1, Duration::ZERO, WHY).await.unwrap();
    assert_eq!(platforms.take_probe(PLATFORM, replica(1)).await, Ok(true));
    assert_eq!(platforms.take_probe(PLATFORM, replica(2)).await, Ok(false));
    side.run("UPDATE vz_platforms SET open_until = now()").await;
    assert_eq!(platforms.take_probe(PLATFORM, replica(2)).await, Ok(true));
}

#[tokio::test]
async fn an_answer_writes_nothing_when_there_is_nothing_to_forget() {
    let side = Side::with_teams(&[1]).await;
    let platforms = PgPlatforms::new(side.pool.clone());
    let version = "SELECT xmin::text FROM vz_platforms";
    let before: String = side.value(version, &[]).await;
    platforms.answered(PLATFORM).await.unwrap();
    assert_eq!(side.value::<String>(version, &[]).await, before);
    platforms.connection_failed(PLATFORM, 5, OPEN_FOR, WHY).await.unwrap();
    platforms.answered(PLATFORM).await.unwrap();
    assert_eq!(gate(&platforms).await.consecutive_failures, 0);
}

#[tokio::test]
async fn a_shorter_wait_never_cuts_a_longer_one() {
    let side = Side::with_teams(&[1]).await;
    let platforms = PgPlatforms::new(side.pool.clone());
    assert_eq!(gate(&platforms).await.throttled_for, Duration::ZERO);
    platforms.throttled(PLATFORM, Duration::from_secs(100)).await.unwrap();
    platforms.throttled(PLATFORM, Duration::from_secs(1)).await.unwrap();
    let left = gate(&platforms).await.throttled_for;
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(100), "{left:?}");
    let unknown = platforms.throttled(PlatformId(9), OPEN_FOR).await;
    assert_eq!(unknown, Err(PortError::NotFound("platform 9".to_owned())));
}
