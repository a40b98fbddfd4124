//! The exams of teams and of their keys.

/// The exam of teams.
pub mod teams {
    use std::time::Duration;

    use crate::conformance::StoreSubject;
    use crate::conformance::store::{ended, listing, unchanged};
    use crate::domain::{DataType, JobState, Mode, Scope, TeamId};
    use crate::ports::store::{Applied, Ending};
    use crate::ports::teams::{NewTeam, Overrides, Rollout};
    use crate::testkit::fixtures::{Environment, LEASE_TTL, environments_of, pause, team};

    /// Putting a team twice updates it; platforms are shared by URL.
    pub async fn a_team_is_put_and_listed(subject: &StoreSubject) {
        let first = subject.teams.put(&team(2)).await.unwrap();
        let other = NewTeam { platform_url: "https://other.example".to_owned(), ..team(1) };
        let second = subject.teams.put(&other).await.unwrap();
        assert_ne!(first.platform, second.platform);
        assert!(!first.has_credentials && first.owner_uid.is_none());
        let renamed = NewTeam { name: "renamed".to_owned(), ..team(2) };
        let again = subject.teams.put(&renamed).await.unwrap();
        assert_eq!((again.platform, again.created_at), (first.platform, first.created_at));
        let list = subject.teams.list().await.unwrap();
        let names: Vec<_> = list.iter().map(|view| (view.id.0, view.name.as_str())).collect();
        assert_eq!(names, [(1, "team 1"), (2, "renamed")]);
        assert_eq!(subject.teams.get(TeamId(2)).await.unwrap().as_ref(), list.last());
        assert_eq!(subject.teams.get(TeamId(404)).await.unwrap(), None);
        assert_eq!(subject.reads.scopes(TeamId(2)).await.unwrap().map(|all| all.len()), Some(3));
    }

    /// Who takes part: nobody, everybody, a list, a cohort, a share.
    pub async fn the_rollout_decides_who_takes_part(subject: &StoreSubject) {
        for id in 1..=100 {
            let cohorts = (id == 7).then(|| vec!["beta".to_owned()]);
            subject.teams.put(&NewTeam { cohorts, ..team(id) }).await.unwrap();
        }
        let count = async |rollout: Rollout| {
            subject.teams.set_rollout(&rollout, "tester").await.unwrap();
            assert_eq!(subject.teams.rollout().await.unwrap(), rollout);
            let list = subject.teams.list().await.unwrap();
            list.iter().filter(|team| team.in_rollout).count()
        };
        let on = Rollout { enabled: true, ..Rollout::default() };
        assert_eq!(count(on.clone()).await, 0);
        assert_eq!(count(Rollout { everyone: true, ..on.clone() }).await, 100);
        assert_eq!(count(Rollout { teams: vec![TeamId(3)], ..on.clone() }).await, 1);
        assert_eq!(count(Rollout { cohorts: vec!["beta".to_owned()], ..on.clone() }).await, 1);
        let half = count(Rollout { percent: 50, ..on.clone() }).await;
        assert!((30..=70).contains(&half), "{half}");
        assert_eq!(count(Rollout { percent: 100, ..on }).await, 100);
    }

    /// Whoever renames a team does not take it out of its cohorts.
    pub async fn cohorts_are_kept_unless_they_are_named(subject: &StoreSubject) {
        let beta =
            Rollout { enabled: true, cohorts: vec!["beta".to_owned()], ..Rollout::default() };
        subject.teams.set_rollout(&beta, "tester").await.unwrap();
        let named =
            |cohorts: &[&str]| Some(cohorts.iter().map(|name| (*name).to_owned()).collect());
        let put = async |cohorts| {
            let team = NewTeam { cohorts, ..team(1) };
            subject.teams.put(&team).await.unwrap().in_rollout
        };
        assert!(!put(None).await, "a new team is in none");
        assert!(put(named(&["beta", "late"])).await);
        assert!(put(None).await, "kept");
        assert!(!put(named(&[])).await, "left");
    }

    /// A resume forgets failures and makes the team due.
    pub async fn a_resume_starts_afresh(subject: &StoreSubject) {
        subject.with_teams(&[1]).await;
        let key = environments_of(1);
        let lease = subject.lease(key, 1).await;
        let failure = crate::testkit::platform::unavailable();
        let ending = Ending::Retry { failure, wait: LEASE_TTL * 10 };
        subject.store.settle(&ended(&lease, ending)).await.unwrap();
        assert!(subject.teams.set_paused(key.team, Some(pause("by hand"))).await.unwrap());
        assert_eq!(subject.scope(key).await.status, "paused");
        assert!(subject.teams.set_paused(key.team, None).await.unwrap());
        assert_eq!(subject.scope(key).await.failures, 0);
        assert!(subject.claims(key).await.is_some());
        assert!(!subject.teams.set_paused(TeamId(404), None).await.unwrap());
    }

    /// What a team has of its own is obeyed and shown, until it is taken back.
    pub async fn a_team_may_have_its_own_pace(subject: &StoreSubject) {
        subject.with_teams(&[1, 2]).await;
        let key = environments_of(1);
        subject.load(key, 1, &[Environment::new(1, 1)]).await;
        let own = Overrides {
            full_interval_seconds: [(Scope::Environments, 1200)].into(),
            delta_interval_seconds: [(Scope::Environments, 120)].into(),
            max_allowed_staleness_seconds: [(DataType::Nodes, 300)].into(),
        };
        assert!(subject.teams.set_overrides(key.team, &own).await.unwrap());
        assert!(!subject.teams.set_overrides(TeamId(404), &own).await.unwrap());
        // A team that is put again keeps them.
        subject.teams.put(&team(1)).await.unwrap();
        let shown = async || {
            let list = subject.teams.list().await.unwrap();
            list.into_iter().map(|team| team.overrides).collect::<Vec<_>>()
        };
        assert_eq!(shown().await, [own.clone(), Overrides::default()]);
        let ages = async |team| {
            let tables = [DataType::Environments, DataType::Nodes];
            let facts = subject.reads.freshness(TeamId(team), &tables).await.unwrap();
            [0, 1].map(|of: usize| facts[of].max_allowed_staleness.as_secs())
        };
        assert_eq!((ages(1).await, ages(2).await), ([900, 300], [900, 900]));

        // The next delta was ten minutes away; now it is two.
        assert!(subject.claims(key).await.is_none());
        subject.pace.pass(Duration::from_secs(121)).await;
        let lease = subject.lease(key, 2).await;
        let seconds = (lease.intervals.full.as_secs(), lease.intervals.delta.as_secs());
        assert_eq!((lease.mode, seconds), (Mode::Delta, (1200, 120)));
        subject.apply(&unchanged(&lease)).await;

        assert!(subject.teams.set_overrides(key.team, &Overrides::default()).await.unwrap());
        assert_eq!(shown().await, [Overrides::default(), Overrides::default()]);
        assert_eq!(ages(1).await, [900, 900]);
        let lease = subject.lease_again(key, 3).await;
        assert_eq!((lease.intervals.full.as_secs(), lease.intervals.delta.as_secs()), (3600, 600));
        subject.apply(&unchanged(&lease)).await;
    }

    /// A removed team's run commits nothing, and its key is gone.
    pub async fn a_removed_team_is_left_behind(subject: &StoreSubject) {
        subject.with_teams(&[1]).await;
        let key = environments_of(1);
        let lease = subject.lease(key, 1).await;
        assert!(subject.teams.remove(key.team).await.unwrap());
        assert!(!subject.teams.remove(key.team).await.unwrap());
        let late = listing(&lease, &[Environment::new(1, 1)]);
        assert_eq!(subject.store.apply(&late).await.unwrap(), Applied::Overtaken);
        assert!(!subject.store.renew(&lease.name, LEASE_TTL).await.unwrap());
        assert!(subject.teams.list().await.unwrap().is_empty());
        assert_eq!(subject.reads.scopes(key.team).await.unwrap(), None);
        assert!(subject.credentials.resolve(key.team).await.is_err());
        let job = subject.reads.job(key.team, lease.name.job).await.unwrap();
        assert!(job.is_none_or(|job| job.state == JobState::Obsolete));
        // The id may be given again; it starts without the old key.
        subject.with_teams(&[1]).await;
        let lease = subject.lease(key, 2).await;
        subject.apply(&unchanged(&lease)).await;
    }

    /// Tests of a [`Teams`](crate::ports::teams::Teams) adapter.
    #[macro_export]
    macro_rules! teams_exam {
        ($attr:tt, $make:expr) => {
            $crate::exam!($attr, $make, teams:
                a_team_is_put_and_listed, cohorts_are_kept_unless_they_are_named, the_rollout_decides_who_takes_part,
                a_resume_starts_afresh, a_team_may_have_its_own_pace,
                a_removed_team_is_left_behind);
        };
    }
}

/// The exam of keys.
pub mod credentials {
    use std::time::Duration;

    use secrecy::{ExposeSecret, SecretString};

    use crate::conformance::StoreSubject;
    use crate::conformance::store::{ended, unchanged};
    use crate::domain::TeamId;
    use crate::ports::credentials::{OnOtherAccount, Resolved};
    use crate::ports::store::{Ending, Settled};
    use crate::testkit::fixtures::{OWNER_UID, environments_of, pause, team};
    use crate::testkit::platform::refused_key;

    pub use super::super::account::{
        a_key_of_another_account_is_refused, a_moved_team_starts_anew,
        a_replaced_account_starts_anew, a_team_that_moves_with_its_account_keeps_its_mirror,
    };

    const T: TeamId = TeamId(1);

    /// A stored key opens for a run with all it takes to ask, and never shows.
    pub async fn a_key_opens_for_a_run(subject: &StoreSubject) {
        subject.teams.put(&team(1)).await.unwrap();
        assert!(matches!(subject.credentials.resolve(T).await.unwrap(), Resolved::None));
        assert_eq!(subject.credentials.describe(T).await.unwrap(), None);
        let key = SecretString::from("a-session-key".to_owned());
        subject
            .credentials
            .replace(T, key, OWNER_UID, OnOtherAccount::Refuse, "tester")
            .await
            .unwrap();
        let resolved = subject.credentials.resolve(T).await.unwrap();
        assert!(!format!("{resolved:?}").contains("a-session-key"));
        let Resolved::Access(access) = resolved else { panic!("there is one") };
        assert_eq!(access.session.expose_secret(), "a-session-key");
        assert_eq!(access.base_url, "https://app.platform.example");
        assert_eq!((access.team, access.owner_uid), (T, Some(OWNER_UID)));
        let described = subject.credentials.describe(T).await.unwrap().expect("there is one");
        assert_eq!(described.owner_uid, OWNER_UID);
        subject.credentials.erase(T).await.unwrap();
        assert!(matches!(subject.credentials.resolve(T).await.unwrap(), Resolved::None));
        assert!(subject.credentials.resolve(TeamId(404)).await.is_err());
    }

    async fn refused(subject: &StoreSubject) {
        subject.with_teams(&[1]).await;
        let lease = subject.lease(environments_of(1), 1).await;
        let ending =
            Ending::AuthRefused { failure: refused_key(), probe_in: Duration::from_hours(1) };
        subject.store.settle(&ended(&lease, ending)).await.unwrap();
        assert!(subject.claim().await.is_empty());
    }

    /// A new key ends the rest.
    pub async fn a_new_key_ends_the_rest(subject: &StoreSubject) {
        refused(subject).await;
        subject.with_teams(&[1]).await;
        assert!(subject.claims(environments_of(1)).await.is_some());
    }

    /// A refused key is probed by one caller at a time, and taken again ends
    /// the rest.
    pub async fn a_refused_key_is_probed_by_one(subject: &StoreSubject) {
        refused(subject).await;
        let hour = Duration::from_hours(1);
        assert!(subject.credentials.due_probes(10, hour).await.unwrap().is_empty());
        subject.pace.pass(hour + Duration::from_secs(1)).await;
        assert_eq!(subject.credentials.due_probes(10, hour).await.unwrap(), [T]);
        assert!(subject.credentials.due_probes(10, hour).await.unwrap().is_empty());
        assert!(subject.credentials.accepted(T).await.unwrap());
        assert!(!subject.credentials.accepted(T).await.unwrap());
        assert!(subject.claims(environments_of(1)).await.is_some());
    }

    /// A probe without an answer is repeated soon, one that was refused later,
    /// and a team that people paused is left in peace.
    pub async fn a_probe_without_an_answer_is_repeated_soon(subject: &StoreSubject) {
        refused(subject).await;
        let (soon, hour) = (Duration::from_mins(5), Duration::from_hours(1));
        let due = async || subject.credentials.due_probes(10, soon).await.unwrap();
        subject.pace.pass(hour + Duration::from_secs(1)).await;
        assert_eq!(due().await, [T]);
        subject.pace.pass(soon + Duration::from_secs(1)).await;
        assert_eq!(due().await, [T], "there was no answer");
        subject.credentials.refused_again(T, hour).await.unwrap();
        subject.pace.pass(soon + Duration::from_secs(1)).await;
        assert!(due().await.is_empty());
        subject.pace.pass(hour).await;
        subject.teams.set_paused(T, Some(pause("holidays"))).await.unwrap();
        assert!(due().await.is_empty(), "people paused it");
        subject.teams.set_paused(T, None).await.unwrap();
        assert_eq!(due().await, [T]);
        // Of a team that does not rest it means nothing.
        assert!(subject.credentials.accepted(T).await.unwrap());
        subject.credentials.refused_again(T, hour).await.unwrap();
        assert!(subject.claims(environments_of(1)).await.is_some());
    }

    /// What was seen with an older key says nothing of the new one.
    pub async fn an_older_keys_refusal_does_not_count(subject: &StoreSubject) {
        subject.with_teams(&[1]).await;
        let lease = subject.lease(environments_of(1), 1).await;
        subject.pace.pass(Duration::from_secs(1)).await;
        subject.with_teams(&[1]).await;
        let ending =
            Ending::AuthRefused { failure: refused_key(), probe_in: Duration::from_hours(1) };
        let settled = subject.store.settle(&ended(&lease, ending)).await;
        assert_eq!(settled.unwrap(), Settled::Done { event: None });
        let lease = subject.lease(environments_of(1), 2).await;
        subject.apply(&unchanged(&lease)).await;
    }

    /// Tests of a [`Credentials`](crate::ports::credentials::Credentials) adapter.
    #[macro_export]
    macro_rules! credentials_exam {
        ($attr:tt, $make:expr) => {
            $crate::exam!($attr, $make, credentials:
                a_key_opens_for_a_run, a_new_key_ends_the_rest, a_refused_key_is_probed_by_one,
                a_probe_without_an_answer_is_repeated_soon,
                an_older_keys_refusal_does_not_count, a_key_of_another_account_is_refused,
                a_replaced_account_starts_anew, a_moved_team_starts_anew,
                a_team_that_moves_with_its_account_keeps_its_mirror);
        };
    }
}
