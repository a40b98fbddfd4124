//! Housekeeping: what goes, what stays, and one at a time.

use std::time::Duration;

use super::{DAY, Side};
use vz_sync::adapters::postgres::upkeep::PgUpkeep;
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::teams::Teams as _;
use vz_sync_actors::ports::upkeep::{Retention, Tidied, Upkeep};

/// Of each table one row that is over, in batches of one, and one that is not.
#[tokio::test]
async fn what_is_over_goes_and_the_rest_stays() {
    let side = Side::with_teams(&[1]).await;
    side.run("
        INSERT INTO vz_sync_jobs (team_id, scope, state, class, reason, finished_at)
        SELECT 1, 'environments', 'succeeded', 3, 'schedule', now() - age * interval '1 day' FROM unnest(ARRAY[13, 15, 16]) age;
        INSERT INTO vz_sync_jobs (team_id, scope, class, reason, created_at) VALUES (1, 'environments', 3, 'schedule', now() - interval '99 days');
        INSERT INTO sync_outbox (team_id, event_no, event_type, payload, created_at)
        SELECT 1, n, 'sync.failed', '{}', now() - (9 - n) * interval '1 day' FROM generate_series(1, 3) n;
        INSERT INTO job_logs (team_id, id, action, started_at, payload, source_version, fence, synced_at, first_seen_at)
        SELECT 1, age::text, 'StartEnv', now() - age * interval '1 day', '{}', decode(repeat('ab', 32), 'hex'), 1, now(), now()
        FROM unnest(ARRAY[89, 91, 92]) age;
        UPDATE vz_sync_data_types SET rows_total = 3 WHERE data_type = 'job_logs';
        INSERT INTO idempotency_keys (team_id, key, body_hash, status_code, response, created_at)
        SELECT 1, age::text, '', 202, '{}', now() - age * interval '1 hour' FROM unnest(ARRAY[23, 25]) age;
        INSERT INTO sse_tickets SELECT age::text::bytea, 1, 's', 'owner', now(), now() + age * interval '1 s' FROM unnest(ARRAY[-1, 60]) age;
        INSERT INTO replicas (boot_id, host, version, permits, heartbeat_at)
        SELECT gen_random_uuid(), 'h', '0', 1, now() - age * interval '1 hour' FROM unnest(ARRAY[1, 25]) age;
        UPDATE vz_sync_states SET lease_owner = gen_random_uuid(), lease_run = '00000000-0000-0000-0000-000000000001', lease_job_id = 1,
            lease_until = now() + interval '1 min' WHERE scope = 'environments';
        INSERT INTO sync_staging (lease_run, data_type, seq, team_id, id, kind, payload, source_version)
        SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'nodes', n, 1, 'x', 'insert', '{}', '' FROM generate_series(1, 3) n;
        INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, job_id, found_at)
        SELECT 1, age, 1, 'nodes', 'x', 'added', 1, now() - age * interval '1 day' FROM unnest(ARRAY[10, 89, 91, 200]) age").await;
    let upkeep = PgUpkeep::new(side.pool.clone());
    let tidied = upkeep.tidy(&Retention::default(), 1).await.unwrap().unwrap();
    let expected = Tidied {
        jobs: 2,
        outbox: 2,
        changes: 2,
        job_logs: 2,
        idempotency_keys: 1,
        tickets: 1,
        replicas: 1,
        staging: 2,
        partitions_created: tidied.partitions_created,
        ..Tidied::default()
    };
    assert_eq!(tidied, expected);
    let left: Vec<i64> = side
        .value("SELECT ARRAY[(SELECT count(*) FROM vz_sync_jobs), (SELECT count(*) FROM sync_outbox), (SELECT count(*) FROM resource_changes),
                             (SELECT rows_total FROM vz_sync_data_types WHERE data_type = 'job_logs'), (SELECT count(*) FROM sync_staging)]", &[])
        .await;
    assert_eq!(left, [2, 1, 2, 1, 1]);
    let again = upkeep.tidy(&Retention::default(), 1000).await.unwrap().unwrap();
    assert_eq!(again, Tidied::default());
}

#[tokio::test]
async fn a_removed_team_is_purged_when_its_time_has_come() {
    let side = Side::with_teams(&[1, 2]).await;
    side.run("INSERT INTO environments (team_id, id, env_name, status, owner_uid, payload, source_version, fence, synced_at, first_seen_at)
              SELECT 1 + n % 2, n::text, 'e', 1, 7, '{}', decode(repeat('ab', 32), 'hex'), 1, now(), now() FROM generate_series(1, 10) n;
              INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, job_id, found_at)
              SELECT 1, n, 1, 'nodes', 'x', 'added', 1, now() FROM generate_series(1, 5) n").await;
    side.teams().remove(TeamId(1)).await.unwrap();
    let upkeep = PgUpkeep::new(side.pool.clone());
    assert_eq!(
        upkeep.tidy(&Retention::default(), 2).await.unwrap().unwrap().team_rows,
        0,
        "not yet"
    );
    side.run("UPDATE teams SET deleted_at = now() - interval '31 days' WHERE id = 1").await;
    assert_eq!(upkeep.tidy(&Retention::default(), 2).await.unwrap().unwrap().team_rows, 5 + 5 + 1);
    let left: i64 = side
        .value(
            "SELECT (SELECT count(*) FROM environments) + (SELECT count(*) FROM vz_sync_states)",
            &[],
        )
        .await;
    assert_eq!(left, 5 + 3, "the other team's");
}

#[tokio::test]
async fn months_that_are_over_are_dropped_whole() {
    let side = Side::with_teams(&[1]).await;
    side.run("SELECT vz_ensure_change_partitions(now() - interval '200 days')").await;
    let upkeep = PgUpkeep::new(side.pool.clone());
    let tidied = upkeep.tidy(&Retention::default(), 10).await.unwrap().unwrap();
    assert!(tidied.partitions_dropped >= 3, "{tidied:?}");
}

#[tokio::test]
async fn one_replica_tidies_at_a_time_and_a_dropped_one_leaves_no_lock() {
    let side = Side::with_teams(&[1]).await;
    let upkeep = PgUpkeep::new(side.pool.clone());
    // A chore is stopped in the middle: it waits for this row.
    side.run(
        "INSERT INTO idempotency_keys (team_id, key, body_hash, status_code, response, created_at)
              VALUES (1, 'k', '', 202, '{}', now() - interval '2 days')",
    )
    .await;
    // In one string with the BEGIN the row would stay invisible to the chore.
    side.run("BEGIN; SELECT FROM idempotency_keys FOR UPDATE").await;
    let retention = Retention { jobs: DAY, ..Retention::default() };
    let working = tokio::spawn({
        let upkeep = upkeep.clone();
        async move { upkeep.tidy(&retention, 10).await }
    });
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while side.value::<i64>(held, &[]).await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(upkeep.tidy(&Retention::default(), 10).await, Ok(None));
    working.abort();
    assert!(working.await.unwrap_err().is_cancelled());
    side.run("ROLLBACK").await;
    let freed = async {
        while side.value::<i64>(held, &[]).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed)
        .await
        .expect("the lock goes with its session");
    assert!(upkeep.tidy(&Retention::default(), 10).await.unwrap().is_some());
}
