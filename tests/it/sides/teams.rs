//! The life of a team: added, moved, paused, removed, brought back.

use super::{OWNER, Side, key, new_team};
use vz_sync::config::{Loaded, Sources};
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::credentials::{Credentials as _, OnOtherAccount, Resolved};
use vz_sync_actors::ports::teams::{NewTeam, Rollout, Teams};
use vz_sync_actors::testkit::fixtures::pause;

const TEAM: TeamId = TeamId(1);

#[tokio::test]
async fn a_team_is_there_with_all_that_belongs_to_it() {
    let side = Side::new().await;
    let view = side.teams().put(&new_team(1)).await.unwrap();
    assert_eq!((view.id, view.has_credentials, view.in_rollout), (TEAM, false, true));
    assert_eq!(view.platform_url, "https://app.hoster.example");
    let due: i64 = side
        .value("SELECT count(*) FROM vz_sync_states WHERE next_full_at <= now() AND next_delta_at <= now() AND NOT admitted", &[])
        .await;
    assert_eq!(due, 3, "due once there is a key");
    let rows: i64 = side.value("SELECT (SELECT count(*) FROM vz_sync_data_types) + (SELECT count(*) FROM team_event_counters)", &[]).await;
    assert_eq!(rows, 5);

    // Again, with another name and a cohort: nothing is doubled or due anew.
    side.run("UPDATE vz_sync_states SET next_full_at = now() + interval '1 h', next_delta_at = now() + interval '1 h'").await;
    let renamed =
        NewTeam { name: "new".to_owned(), cohorts: Some(vec!["early".to_owned()]), ..new_team(1) };
    assert_eq!(side.teams().put(&renamed).await.unwrap().name, "new");
    let due: i64 =
        side.value("SELECT count(*) FROM vz_sync_states WHERE next_full_at <= now()", &[]).await;
    assert_eq!(due, 0);
    assert_eq!(side.teams().list().await.unwrap().len(), 1);
    assert!(
        side.teams()
            .put(&NewTeam { platform_url: "nonsense".to_owned(), ..new_team(2) })
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_removed_team_commits_nothing_more_and_has_no_key() {
    let side = Side::with_teams(&[1, 2]).await;
    side.run("INSERT INTO vz_sync_jobs (team_id, scope, state, class, reason) VALUES (1, 'environments', 'running', 3, 'schedule');
              UPDATE vz_sync_states SET lease_owner = gen_random_uuid(), lease_run = gen_random_uuid(), lease_job_id = 1,
                  lease_until = now() + interval '1 h', fence = 7 WHERE team_id = 1 AND scope = 'environments'").await;
    assert_eq!(side.teams().remove(TEAM).await, Ok(true));
    assert_eq!(side.teams().remove(TEAM).await, Ok(false));
    assert_eq!(side.teams().remove(TeamId(9)).await, Ok(false));
    let fences: Vec<i64> = side
        .value("SELECT array_agg(fence ORDER BY fence) FROM vz_sync_states WHERE team_id = 1", &[])
        .await;
    assert_eq!(fences, [1, 1, 8]);
    let open: i64 = side
        .value("SELECT count(*) FROM vz_sync_states WHERE team_id = 1 AND (due_at IS NOT NULL OR lease_run IS NOT NULL)", &[])
        .await;
    assert_eq!(open, 0);
    let state: String = side.value("SELECT state FROM vz_sync_jobs", &[]).await;
    assert_eq!(state, "obsolete");
    let keys: i64 = side.value("SELECT count(*) FROM team_credentials", &[]).await;
    assert_eq!(keys, 1, "the other team's");
    assert_eq!(side.teams().list().await.unwrap().len(), 1);

    // Brought back: due, but without a key.
    let back = side.teams().put(&new_team(1)).await.unwrap();
    assert!(!back.has_credentials);
    side.credentials()
        .replace(TEAM, key(1), OWNER, OnOtherAccount::Refuse, "tester")
        .await
        .unwrap();
    let due: i64 = side
        .value("SELECT count(*) FROM vz_sync_states WHERE team_id = 1 AND due_at <= now()", &[])
        .await;
    assert_eq!(due, 3);
}

#[tokio::test]
async fn a_key_does_not_follow_its_team_to_another_platform() {
    let side = Side::with_teams(&[1]).await;
    let moved = NewTeam { platform_url: "https://other.example".to_owned(), ..new_team(1) };
    let view = side.teams().put(&moved).await.unwrap();
    assert_eq!((view.has_credentials, view.owner_uid), (false, None));
    let fences: i64 = side.value("SELECT min(fence) FROM vz_sync_states", &[]).await;
    assert_eq!(fences, 1);
    assert!(matches!(side.credentials().resolve(TEAM).await, Ok(Resolved::None)));
}

#[tokio::test]
async fn a_pause_takes_the_team_out_and_a_resume_makes_it_due() {
    let side = Side::with_teams(&[1]).await;
    let due = "SELECT count(*) FROM vz_sync_states WHERE due_at <= now()";
    assert_eq!(side.teams().set_paused(TEAM, Some(pause("lunch"))).await, Ok(true));
    assert_eq!(side.teams().list().await.unwrap()[0].paused.as_deref(), Some("lunch"));
    assert_eq!(side.value::<i64>(due, &[]).await, 0);
    side.run("UPDATE vz_sync_states SET failures = 9, failing_since = now(), next_full_at = now() + interval '1 h',
                  next_delta_at = now() + interval '1 h';
              UPDATE vz_sync_states SET not_before = now() + interval '1 h', not_before_reason = 'backoff' WHERE scope = 'environments';
              UPDATE vz_sync_states SET not_before = now() + interval '1 h', not_before_reason = 'throttled' WHERE scope = 'job_logs'").await;
    assert_eq!(side.teams().set_paused(TEAM, None).await, Ok(true));
    assert_eq!(side.value::<i64>(due, &[]).await, 2, "what the platform asked for is kept");
    let failures: i32 = side.value("SELECT max(failures) FROM vz_sync_states", &[]).await;
    assert_eq!(failures, 0);
    assert_eq!(side.teams().set_paused(TeamId(9), None).await, Ok(false));
}

#[tokio::test]
async fn it_is_noted_who_wanted_it() {
    let side = Side::with_teams(&[1]).await;
    let set_by = "SELECT set_by FROM team_credentials";
    assert_eq!(side.value::<Option<String>>(set_by, &[]).await.as_deref(), Some("tester"));
    let paused_by = "SELECT paused_by FROM team_settings";
    side.teams().set_paused(TEAM, Some(pause("lunch"))).await.unwrap();
    assert_eq!(side.value::<Option<String>>(paused_by, &[]).await.as_deref(), Some("tester"));
    side.teams().set_paused(TEAM, None).await.unwrap();
    assert_eq!(side.value::<Option<String>>(paused_by, &[]).await, None);
    let updated_by = "SELECT updated_by FROM rollout";
    assert_eq!(side.value::<Option<String>>(updated_by, &[]).await.as_deref(), Some("tester"));
}

#[tokio::test]
async fn the_rollout_reads_back_and_configuration_only_seeds_it() {
    let side = Side::new().await;
    let config = Loaded::load(&Sources::default()).unwrap().config;
    vz_sync::adapters::postgres::seed::seed(&side.pool, &config).await.unwrap();
    let seeded = side.teams().rollout().await.unwrap();
    assert_eq!((seeded.enabled, seeded.everyone, seeded.percent), (true, true, 100));
    assert!(!config.pipeline.enabled, "which is another switch");

    let chosen = Rollout {
        enabled: true,
        everyone: false,
        teams: vec![TEAM],
        cohorts: vec!["early".to_owned()],
        percent: 5,
    };
    side.teams().set_rollout(&chosen, "tester").await.unwrap();
    side.run("UPDATE freshness_defaults SET max_allowed_staleness_seconds = 1").await;
    vz_sync::adapters::postgres::seed::seed(&side.pool, &config).await.unwrap();
    assert_eq!(side.teams().rollout().await, Ok(chosen.clone()));
    let limits: i64 =
        side.value("SELECT sum(max_allowed_staleness_seconds) FROM freshness_defaults", &[]).await;
    assert_eq!(limits, 900 + 900 + 1800 + 7200);
    assert!(side.teams().set_rollout(&Rollout { percent: 101, ..chosen }, "tester").await.is_err());
}

#[tokio::test]
async fn teams_are_added_while_the_rollout_changes() {
    let side = Side::new().await;
    for round in 0..10_i64 {
        let everyone = Rollout { enabled: true, everyone: round % 2 == 0, ..Rollout::default() };
        let teams = side.teams();
        let adding = (1..=3).map(|id| {
            let cohorts = Some(vec![format!("cohort {round}")]);
            let teams = teams.clone();
            async move { teams.put(&NewTeam { cohorts, ..new_team(id) }).await }
        });
        let (added, changed) = tokio::join!(
            futures_util::future::try_join_all(adding),
            teams.set_rollout(&everyone, "tester")
        );
        added.unwrap();
        changed.unwrap();
        let wrong: i64 = side
            .value("SELECT count(*) FROM team_settings WHERE in_rollout <> vz_is_in_rollout(team_id, cohorts)", &[])
            .await;
        assert_eq!(wrong, 0);
    }
}
