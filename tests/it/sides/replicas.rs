//! Signs of life, and leases of those who give none.

use super::{DEAD_AFTER, Side};
use uuid::Uuid;
use vz_sync::adapters::postgres::replicas::PgReplicas;
use vz_sync_actors::domain::{ReplicaId, Scope, ScopeKey, TeamId};
use vz_sync_actors::ports::replicas::{Fleet, ReplicaInfo, Replicas};

fn replica(n: u128) -> ReplicaInfo {
    ReplicaInfo {
        id: ReplicaId(Uuid::from_u128(n)),
        host: format!("host {n}"),
        permits: 5,
        version: "1".to_owned(),
    }
}

#[tokio::test]
async fn the_fleet_is_whoever_gave_a_sign_lately() {
    let side = Side::new().await;
    let replicas = PgReplicas::new(side.pool.clone());
    let beat = async |n| replicas.heartbeat(&replica(n), DEAD_AFTER).await.unwrap();
    assert_eq!(beat(1).await, Fleet { replicas: 1, permits: 5 });
    assert_eq!(beat(2).await, Fleet { replicas: 2, permits: 10 });
    side.run("UPDATE replicas SET heartbeat_at = now() - interval '16 s' WHERE host = 'host 1'")
        .await;
    assert_eq!(beat(2).await, Fleet { replicas: 1, permits: 5 });
    let known = replicas.list(DEAD_AFTER).await.unwrap();
    assert_eq!(known.iter().map(|r| r.alive).collect::<Vec<_>>(), [false, true]);
    assert_eq!(beat(1).await, Fleet { replicas: 2, permits: 10 });
    replicas.leave(replica(2).id).await.unwrap();
    assert_eq!(beat(1).await, Fleet { replicas: 1, permits: 5 });
}

#[tokio::test]
async fn only_dead_owners_leases_are_freed() {
    let side = Side::with_teams(&[1, 2, 3]).await;
    let replicas = PgReplicas::new(side.pool.clone());
    for n in [1, 2] {
        replicas.heartbeat(&replica(n), DEAD_AFTER).await.unwrap();
    }
    // Team 1 is run by a live replica, team 2 by one that fell silent, team 3 past its lease.
    for (team, owner, lease) in [(1, 1, "1 min"), (2, 2, "1 min"), (3, 1, "-1 s")] {
        side.run(&format!(
            "INSERT INTO vz_sync_jobs (team_id, scope, state, class, reason, attempt, run_id)
             VALUES ({team}, 'environments', 'running', 3, 'schedule', 2, '{run}');
             UPDATE vz_sync_states SET lease_owner = '{owner}', lease_run = '{run}', lease_until = now() + interval '{lease}',
                 lease_job_id = currval('vz_sync_jobs_id_seq') WHERE team_id = {team} AND scope = 'environments'",
            run = Uuid::from_u128(100 + team),
            owner = Uuid::from_u128(owner),
        ))
        .await;
    }
    assert_eq!(replicas.list(DEAD_AFTER).await.unwrap()[0].running, 2);
    side.run("UPDATE replicas SET heartbeat_at = now() - interval '16 s' WHERE host = 'host 2'")
        .await;
    let mut freed = replicas.reap(DEAD_AFTER).await.unwrap();
    freed.sort_by_key(|freed| freed.key);
    let expected = [2, 3].map(|team| {
        (ScopeKey::new(TeamId(team), Scope::Environments), Uuid::from_u128(100 + team as u128))
    });
    assert_eq!(freed.iter().map(|f| (f.key, f.run.0)).collect::<Vec<_>>(), expected);
    let queued: i64 = side
        .value("SELECT count(*) FROM vz_sync_jobs WHERE state = 'queued' AND attempt = 2", &[])
        .await;
    assert_eq!(queued, 2, "attempts are kept");
    let runnable: i64 = side
        .value("SELECT count(*) FROM vz_sync_states WHERE team_id > 1 AND scope = 'environments' AND due_at <= now()", &[])
        .await;
    assert_eq!(runnable, 2);
    assert_eq!(replicas.reap(DEAD_AFTER).await, Ok(Vec::new()));
}
