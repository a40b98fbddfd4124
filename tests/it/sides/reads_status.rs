//! What stands between a scope and its next run, and what the readers are told.

use std::time::Duration;

use super::Side;
use vz_sync_actors::domain::{Class, DataType, JobId, JobState, Mode, Scope, TeamId};
use vz_sync_actors::ports::credentials::Credentials as _;
use vz_sync_actors::ports::reads::{Reads, ScopeStatus};
use vz_sync_actors::ports::store::Resting;

const TEAM: TeamId = TeamId(1);

async fn environments(side: &Side) -> ScopeStatus {
    let scopes = side.reads().scopes(TEAM).await.unwrap().unwrap();
    assert_eq!(scopes.iter().map(|s| s.key.scope).collect::<Vec<_>>(), Scope::ALL);
    scopes.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_team_that_was_never_synchronised_says_so() {
    let side = Side::with_teams(&[1]).await;
    let facts = side.reads().freshness(TEAM, &[DataType::Nodes, DataType::JobLogs]).await.unwrap();
    assert_eq!(facts.len(), 2);
    assert_eq!((facts[0].data_type, facts[1].data_type), (DataType::Nodes, DataType::JobLogs));
    assert_eq!((facts[0].verified_at, facts[0].verified_by, facts[0].holds), (None, None, 0));
    assert_eq!(facts[0].max_allowed_staleness, Duration::from_secs(900));
    assert_eq!(facts[0].scope.key.scope, Scope::Environments);
    assert_eq!(facts[0].scope.status, "idle");
    let stale = side.reads().staleness(10).await.unwrap();
    assert_eq!(stale.len(), 4);
    assert!(stale.iter().all(|row| row.age.is_none()));
    assert_eq!(side.reads().freshness(TeamId(9), &DataType::ALL).await, Ok(Vec::new()));
    assert_eq!(side.reads().scopes(TeamId(9)).await, Ok(None));
}

#[tokio::test]
async fn every_reason_to_rest_is_told_and_people_go_first() {
    let side = Side::with_teams(&[1]).await;
    assert_eq!(environments(&side).await.resting, None);
    let refused =
        "UPDATE team_settings SET auth_failed_at = now(), auth_failed_reason = 'result 701'";
    let steps = [
        (refused, Resting::Auth("result 701".to_owned()), "error"),
        ("DELETE FROM team_credentials", Resting::NoCredentials, "disabled"),
        (
            "UPDATE team_settings SET paused_at = now(), paused_reason = 'lunch'",
            Resting::Paused("lunch".to_owned()),
            "paused",
        ),
        ("UPDATE rollout SET everyone = false", Resting::OutOfRollout, "disabled"),
    ];
    for (sql, resting, status) in steps {
        side.run(sql).await;
        let scope = environments(&side).await;
        assert_eq!((scope.resting.as_ref(), scope.status.as_str()), (Some(&resting), status));
        let team = side.reads().teams(&[TEAM]).await.unwrap().remove(0);
        assert_eq!(team.resting, Some(resting));
    }
    side.run("UPDATE rollout SET everyone = true, enabled = false").await;
    assert_eq!(environments(&side).await.resting, Some(Resting::OutOfRollout));
}

#[tokio::test]
async fn a_scope_that_failed_for_days_is_paused_alone() {
    let side = Side::with_teams(&[1]).await;
    side.run("UPDATE vz_sync_states SET paused_at = now() WHERE scope = 'job_logs'").await;
    let scopes = side.reads().scopes(TEAM).await.unwrap().unwrap();
    let resting: Vec<bool> = scopes.iter().map(|scope| scope.resting.is_some()).collect();
    assert_eq!(resting, [false, false, true]);
    assert_eq!(scopes[2].status, "paused");
}

#[tokio::test]
async fn waits_circuits_and_failures_have_their_words() {
    let side = Side::with_teams(&[1]).await;
    let steps = [
        (
            "UPDATE vz_sync_states SET failures = 2, last_error_class = 'retryable', last_error_code = 'result_17',
             not_before = now() + interval '1 min', not_before_reason = 'backoff'",
            ("retrying", Some("backoff")),
        ),
        ("UPDATE vz_sync_states SET not_before_reason = 'throttled'", ("throttled", Some("throttled"))),
        (
            "UPDATE vz_platforms SET circuit_state = 'open', open_until = now() + interval '1 min'",
            ("throttled", Some("circuit_open")),
        ),
    ];
    for (sql, (status, reason)) in steps {
        side.run(sql).await;
        let scope = environments(&side).await;
        assert_eq!((scope.status.as_str(), scope.pending_reason.as_deref()), (status, reason));
    }
    let scope = environments(&side).await;
    assert_eq!(scope.last_error.as_deref(), Some("retryable result_17"));
    assert!(scope.circuit_open_until.is_some());
}

#[tokio::test]
async fn a_lease_shows_while_its_owner_lives() {
    let side = Side::with_teams(&[1]).await;
    side.run("INSERT INTO replicas (boot_id, host, version, permits) VALUES (gen_random_uuid(), 'here', '0', 5);
              INSERT INTO vz_sync_jobs (team_id, scope, state, class, reason, attempt, started_at, mode)
              VALUES (1, 'environments', 'running', 9, 'manual', 2, now(), 'full');
              INSERT INTO vz_sync_jobs (team_id, scope, class, reason) VALUES (1, 'environments', 3, 'schedule');
              UPDATE vz_sync_states SET lease_owner = (SELECT boot_id FROM replicas), lease_run = gen_random_uuid(),
                  lease_until = now() + interval '1 min', lease_job_id = 1, fence = 3 WHERE scope = 'environments'").await;
    let scope = environments(&side).await;
    assert_eq!((scope.status.as_str(), scope.fence.0), ("running", 3));
    let running = scope.running.unwrap();
    assert_eq!(
        (running.state, running.class, running.attempt),
        (JobState::Running, Class::Manual, 2)
    );
    assert_eq!(running.mode, Some(Mode::Full));
    assert_eq!(scope.queued.unwrap().id, JobId(2));
    assert!(scope.lease.is_some());

    side.run("UPDATE replicas SET heartbeat_at = now() - interval '16 s'").await;
    assert_eq!(environments(&side).await.lease, None);
}

#[tokio::test]
async fn jobs_are_paged_from_the_newest_and_belong_to_their_team() {
    let side = Side::with_teams(&[1, 2]).await;
    side.run("INSERT INTO vz_sync_jobs (team_id, scope, state, class, reason, finished_at, counts)
              SELECT 1 + n % 2, CASE WHEN n % 3 = 0 THEN 'job_logs' ELSE 'environments' END, 'succeeded', 3, 'schedule', now(),
                     '{\"inserted\": 4, \"of a newer version\": 1}'
              FROM generate_series(1, 12) n").await;
    let reads = side.reads();
    let ids = async |scope, before, limit| -> Vec<i64> {
        let jobs = reads.jobs(TEAM, scope, before, limit).await.unwrap();
        jobs.iter().map(|job| job.id.0).collect()
    };
    assert_eq!(ids(None, None, 3).await, [12, 10, 8]);
    assert_eq!(ids(None, Some(JobId(8)), 9).await, [6, 4, 2]);
    assert_eq!(ids(Some(Scope::JobLogs), None, 9).await, [12, 6]);
    let job = reads.job(TEAM, JobId(4)).await.unwrap().unwrap();
    assert_eq!(job.counts.unwrap().inserted, 4);
    assert_eq!(reads.job(TEAM, JobId(3)).await, Ok(None), "another team's");
}

#[tokio::test]
async fn counts_holds_and_own_limits_are_told() {
    let side = Side::with_teams(&[1]).await;
    side.run("INSERT INTO environments (team_id, id, env_name, status, owner_uid, payload, source_version, fence, synced_at, first_seen_at, stale)
              SELECT 1, n::text, 'e', n % 2 + 1, 7, '{}', decode(repeat('ab', 32), 'hex'), 1, now(), now(), n > 4 FROM generate_series(1, 5) n;
              INSERT INTO vz_sync_removal_holds (team_id, data_type, reason, rows_before, rows_missing) VALUES (1, 'environments', 'empty_listing', 9, 2);
              INSERT INTO vz_sync_removal_hold_items SELECT 1, n::text, 1 FROM generate_series(1, 2) n;
              INSERT INTO vz_sync_removal_holds (team_id, data_type, reason, rows_before, rows_missing, state, decided_at)
              VALUES (1, 'nodes', 'over_percentage', 9, 2, 'released', now());
              UPDATE vz_sync_data_types SET max_allowed_staleness_seconds = 60, verified_at = now() - interval '2 min', verified_by = 'delta'
              WHERE data_type = 'environments'").await;
    let team = side.reads().teams(&[TEAM]).await.unwrap().remove(0);
    assert_eq!(team.environments_by_status, [(1, 2), (2, 2)].into());
    assert_eq!((team.nodes, team.freshness.len()), (0, 4));
    assert_eq!((team.freshness[0].holds, team.freshness[1].holds), (1, 0));
    assert_eq!(team.freshness[0].max_allowed_staleness, Duration::from_secs(60));
    assert_eq!(team.freshness[0].verified_by, Some(Mode::Delta));

    let holds = side.reads().holds(TEAM, false).await.unwrap();
    assert_eq!((holds.len(), holds[0].of, holds[0].items.len()), (1, 9, 2));
    assert_eq!(side.reads().holds(TEAM, true).await.unwrap().len(), 2);
    let stale = side.reads().staleness(9).await.unwrap();
    assert_eq!(stale[3].data_type, DataType::Environments, "the others were never verified");
    assert!(stale[3].age.unwrap() >= Duration::from_secs(120));
    side.credentials().erase(TEAM).await.unwrap();
}
