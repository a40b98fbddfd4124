//! The exam of a key that belongs to another account than the mirror does.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{StoreSubject, listing, unchanged};
use crate::domain::removal::{HoldChange, MissingReason};
use crate::domain::{DataType, JobState, Mode, RawVersion, Scope, ScopeKey, TeamId};
use crate::ports::credentials::{OnOtherAccount, Resolved, is_account_changed};
use crate::ports::store::{Applied, Cursor, Lease, Upserts};
use crate::ports::teams::NewTeam;
use crate::testkit::fixtures::{
    Environment, LEASE_TTL, OWNER_UID, environments_of, malformed, returned, team,
};

const T: TeamId = TeamId(1);
const OTHER_UID: i64 = OWNER_UID + 1;

fn site(n: u32) -> Environment {
    Environment::new(n, 2)
}

/// Two teams with a mirror each. The first one's has a body, a cursor, a hold
/// and a quarantined element, and a run is under way.
async fn mirrored(subject: &StoreSubject) -> Lease {
    subject.with_teams(&[1, 2]).await;
    let key = environments_of(1);
    subject.load(environments_of(2), 1, &[site(1)]).await;
    subject.load(key, 2, &[site(1), site(2), site(3)]).await;
    let lease = subject.lease_again(key, 3).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].missing = vec![(site(2).external_id(), MissingReason::Held)];
    apply.tables[0].quarantined = vec![malformed("appid-00003")];
    apply.holds = vec![HoldChange::Open {
        data_type: DataType::Environments,
        items: vec![site(2).external_id()],
        of: 3,
        reason: "over_percentage".to_owned(),
    }];
    apply.body = Some(RawVersion([7; 32]));
    apply.cursor = Some(Cursor { history_until: Some(lease.database_now), ahead_ms: 7 });
    subject.apply(&apply).await;
    subject.lease_again(key, 4).await
}

async fn key_of(subject: &StoreSubject) -> (String, Option<i64>) {
    match subject.credentials.resolve(T).await.unwrap() {
        Resolved::Access(access) => (access.session.expose_secret().to_owned(), access.owner_uid),
        other => panic!("the key does not open: {other:?}"),
    }
}

async fn verified(subject: &StoreSubject, team: TeamId) -> Vec<bool> {
    let facts = subject.reads.freshness(team, &DataType::ALL).await.unwrap();
    facts.iter().map(|of| of.verified_at.is_some() || of.verified_by.is_some()).collect()
}

async fn stale_rows(subject: &StoreSubject, team: i64) -> (usize, usize) {
    let baseline = subject.store.baseline(environments_of(team)).await.unwrap();
    let rows = || baseline.environments.values().chain(baseline.nodes.values());
    (rows().filter(|row| row.flags.stale).count(), rows().count())
}

/// The run lost its lease, commits nothing, and its job waits for another.
async fn assert_overtaken(subject: &StoreSubject, old: &Lease) {
    assert!(!subject.store.renew(&old.name, LEASE_TTL).await.unwrap());
    let late = listing(old, &[site(4)]);
    assert_eq!(subject.store.apply(&late).await.unwrap(), Applied::Overtaken);
    assert_eq!(subject.state_of(old.name.key, old.name.job).await, JobState::Queued);
}

/// Unless the caller wants the account replaced, nothing at all is changed.
pub async fn a_key_of_another_account_is_refused(subject: &StoreSubject) {
    let lease = mirrored(subject).await;
    let key = SecretString::from("key-of-another".to_owned());
    let answer =
        subject.credentials.replace(T, key, OTHER_UID, OnOtherAccount::Refuse, "tester").await;
    let refusal = answer.expect_err("it belongs to another account");
    assert!(is_account_changed(&refusal), "{refusal}");
    assert!(!refusal.to_string().contains("key-of-another"), "{refusal}");

    assert_eq!(key_of(subject).await, ("key-of-1".to_owned(), Some(OWNER_UID)));
    assert_eq!(stale_rows(subject, 1).await, (0, 9));
    let baseline = subject.store.baseline(environments_of(1)).await.unwrap();
    assert!(baseline.body.is_some() && baseline.holds.len() == 1);
    assert!(baseline.environments[&site(3).external_id()].flags.quarantined);
    assert!(subject.store.archive_work(T, 10).await.unwrap().is_empty());
    assert!(verified(subject, T).await.contains(&true));
    assert!(subject.store.renew(&lease.name, LEASE_TTL).await.unwrap(), "the run goes on");
    subject.apply(&unchanged(&lease)).await;

    // A new key of the same account changes no mirror, whatever the caller allows.
    let key = SecretString::from("newer-key".to_owned());
    subject
        .credentials
        .replace(T, key, OWNER_UID, OnOtherAccount::Replace, "tester")
        .await
        .unwrap();
    assert_eq!(key_of(subject).await, ("newer-key".to_owned(), Some(OWNER_UID)));
    assert_eq!(stale_rows(subject, 1).await, (0, 9));
}

/// The old mirror is archived, the run for it commits nothing, and the next
/// one begins as if the team had never been read.
pub async fn a_replaced_account_starts_anew(subject: &StoreSubject) {
    let old = mirrored(subject).await;
    let key = environments_of(1);
    let secret = SecretString::from("key-of-another".to_owned());
    subject
        .credentials
        .replace(T, secret, OTHER_UID, OnOtherAccount::Replace, "tester")
        .await
        .unwrap();
    assert_eq!(key_of(subject).await, ("key-of-another".to_owned(), Some(OTHER_UID)));

    assert_overtaken(subject, &old).await;
    assert_eq!(stale_rows(subject, 1).await, (9, 9));
    let baseline = subject.store.baseline(key).await.unwrap();
    assert!(baseline.body.is_none() && baseline.holds.is_empty());
    let flags = baseline.environments.values().map(|row| row.flags);
    assert!(flags.into_iter().all(|of| !of.quarantined && !of.held && !of.needs_validation));
    let holds = subject.reads.holds(T, true).await.unwrap();
    assert_eq!((holds.len(), holds[0].state.as_str()), (1, "expired"));
    let work = subject.store.archive_work(T, 10).await.unwrap();
    let ids: Vec<_> = work.iter().map(|site| site.id.clone()).collect();
    assert_eq!(ids, [site(1), site(2), site(3)].map(|site| site.external_id()));
    let id = site(2).external_id();
    let archived = subject.reads.item(T, DataType::ArchivedSites, &id).await.unwrap();
    let archived = archived.expect("the last snapshot is kept");
    assert!(archived.columns.contains("account_replaced"), "{}", archived.columns);
    assert_eq!(verified(subject, T).await, [false; DataType::ALL.len()]);

    let due: Vec<_> = subject.claim().await.iter().map(|entry| entry.key).collect();
    assert!(Scope::ALL.iter().all(|scope| due.contains(&ScopeKey::new(T, *scope))), "{due:?}");
    let lease = subject.lease(key, 5).await;
    assert_eq!((lease.mode, lease.owner_uid), (Mode::Full, Some(OTHER_UID)));
    assert_eq!((lease.last_full_at, lease.expected, lease.failures), (None, None, 0));
    assert!(lease.cursor.is_none() && lease.name.fence > old.name.fence);
    subject.pace.pass(Duration::from_secs(1)).await;

    // An environment that went over with the account is there again.
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![returned(site(1).owned_by(OTHER_UID).item())]);
    subject.apply(&apply).await;
    assert_eq!(stale_rows(subject, 1).await, (8, 9));
    assert_eq!(subject.store.archive_work(T, 10).await.unwrap().len(), 2);
    assert!(verified(subject, T).await.contains(&true));

    assert_eq!(stale_rows(subject, 2).await, (0, 3), "nothing of another team was touched");
    assert!(verified(subject, TeamId(2)).await.contains(&true));
}

fn elsewhere(same_account: bool) -> NewTeam {
    NewTeam { platform_url: "https://other.example".to_owned(), same_account, ..team(1) }
}

/// What another platform answers is another account's: nothing of the old
/// mirror counts as verified, and the next key may be anybody's.
pub async fn a_moved_team_starts_anew(subject: &StoreSubject) {
    let old = mirrored(subject).await;
    let view = subject.teams.put(&elsewhere(false)).await.unwrap();
    assert_eq!((view.has_credentials, view.owner_uid), (false, None));
    assert_overtaken(subject, &old).await;
    assert_eq!(stale_rows(subject, 1).await, (9, 9));
    assert_eq!(subject.store.archive_work(T, 10).await.unwrap().len(), 3);
    assert_eq!(verified(subject, T).await, [false; DataType::ALL.len()]);

    let key = SecretString::from("key-of-another".to_owned());
    let refuse = OnOtherAccount::Refuse;
    subject.credentials.replace(T, key, OTHER_UID, refuse, "tester").await.unwrap();
    let lease = subject.lease(environments_of(1), 5).await;
    assert_eq!((lease.mode, lease.owner_uid), (Mode::Full, Some(OTHER_UID)));
    assert_eq!(stale_rows(subject, 2).await, (0, 3), "nothing of another team was touched");
}

/// A platform that answers at another address is no other account: only the
/// key, which is sealed with the address, must come again.
pub async fn a_team_that_moves_with_its_account_keeps_its_mirror(subject: &StoreSubject) {
    let old = mirrored(subject).await;
    let view = subject.teams.put(&elsewhere(true)).await.unwrap();
    assert_eq!((view.has_credentials, view.owner_uid), (false, Some(OWNER_UID)));
    assert_overtaken(subject, &old).await;
    assert_eq!(stale_rows(subject, 1).await, (0, 9));
    assert!(verified(subject, T).await.contains(&true));

    let key = || SecretString::from("key-at-the-new-address".to_owned());
    let refuse = OnOtherAccount::Refuse;
    let other = subject.credentials.replace(T, key(), OTHER_UID, refuse, "tester").await;
    assert!(is_account_changed(&other.expect_err("it is still the old one's mirror")));
    subject.credentials.replace(T, key(), OWNER_UID, refuse, "tester").await.unwrap();
    let lease = subject.lease(environments_of(1), 5).await;
    subject.apply(&unchanged(&lease)).await;
    assert_eq!(stale_rows(subject, 1).await, (0, 9));
}
