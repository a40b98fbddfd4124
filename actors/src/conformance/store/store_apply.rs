//! The exam of the commit: guarded, whole, honest.

use std::time::Duration;

use secrecy::SecretString;

use super::{StoreSubject, listing, unchanged};
use crate::domain::removal::{MissingReason, StaleReason};
use crate::domain::retry::Sustained;
use crate::domain::{
    Capability, Class, Completeness, DataType, EventBody, ExternalId, Failure, FailureClass,
    JobState, Mode, PartialReason, RawVersion, Scope, ScopeKey, TeamId,
};
use crate::ports::credentials::OnOtherAccount;
use crate::ports::reads::{ChangeQuery, ItemQuery};
use crate::ports::store::{Applied, Cursor, Doubt, Upserts};
use crate::testkit::fixtures::{
    Environment, OWNER_UID, action_item, environments_of, insert, malformed, returned, run_id,
    update,
};

const WAIT: Duration = Duration::from_mins(1);

fn site(n: u32) -> Environment {
    Environment::new(n, 2)
}

/// What happened to a row of the first team, by its change rows.
pub(super) async fn ops(subject: &StoreSubject, id: &ExternalId) -> Vec<String> {
    let query = ChangeQuery {
        team: TeamId(1),
        after: 0,
        data_type: None,
        id: Some(id.clone()),
        limit: 100,
    };
    let rows = subject.reads.changes(&query).await.unwrap();
    rows.into_iter().map(|row| row.op).collect()
}

/// Rows, job, state and event of a commit are there together.
pub async fn a_commit_appears_as_a_whole(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert!(!subject.store.committed(&lease.name).await.unwrap());
    let no = subject.apply(&listing(&lease, &[site(1), site(2)])).await;

    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!((baseline.environments.len(), baseline.nodes.len()), (2, 4));
    let row = &baseline.environments[&site(1).external_id()];
    assert_eq!(row.source_version, site(1).item().source_version);
    assert_eq!(row.env_name.as_deref(), Some("env-00001"));
    assert_eq!((row.status, row.flags.any(), row.fence), (Some(1), false, lease.name.fence));
    let node = &baseline.nodes[&site(1).node_items()[0].id];
    assert_eq!(node.parent, Some(site(1).external_id()));

    let job = subject.job(key, lease.name.job).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.counts.map(|counts| counts.inserted), Some(2));
    let events = subject.events(key.team).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].no, events[0].team_id), (Some(no), key.team));
    let EventBody::Completed(done) = &events[0].body else { panic!("{:?}", events[0]) };
    assert_eq!((done.job_id, done.counts.inserted), (lease.name.job, 2));
    assert!(done.verified_at.is_some() && done.partial.is_none());
    let status = subject.scope(key).await;
    assert!(status.lease.is_none() && status.dispatched_at.is_none());
    assert_eq!((status.failures, status.fence), (0, lease.name.fence));
    assert!(status.last_full_at.is_some());
    assert!(subject.store.committed(&lease.name).await.unwrap());
    assert!(ops(subject, &site(1).external_id()).await.is_empty(), "a first load has no changes");
}

/// An older fence, another run or a lease that is over commits nothing.
pub async fn an_overtaken_run_commits_nothing(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let old = subject.lease(key, 1).await;
    subject.store.release(run_id(1)).await.unwrap();
    let new = subject.lease(key, 2).await;
    let late = listing(&old, &[site(9)]);
    assert_eq!(subject.store.apply(&late).await.unwrap(), Applied::Overtaken);
    let mut forged = late.clone();
    forged.lease.fence = new.name.fence;
    assert_eq!(subject.store.apply(&forged).await.unwrap(), Applied::Overtaken);
    subject.apply(&listing(&new, &[site(1)])).await;
    assert_eq!(subject.store.apply(&late).await.unwrap(), Applied::Overtaken);
    let twice = listing(&new, &[site(9)]);
    assert_eq!(subject.store.apply(&twice).await.unwrap(), Applied::Overtaken);
    let baseline = subject.store.baseline(key).await.unwrap();
    assert!(!baseline.environments.contains_key(&site(9).external_id()));
    assert_eq!(subject.events(key.team).await.len(), 1);
    assert!(subject.store.committed(&new.name).await.unwrap());
    assert!(!subject.store.committed(&old.name).await.unwrap());
}

/// `verified_at` is the time the request was sent, and moves unwritten rows.
pub async fn verified_at_is_when_the_request_was_sent(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1)]).await;
    let id = site(1).external_id();
    let lease = subject.lease_again(key, 2).await;
    let written = subject.reads.item(key.team, DataType::Environments, &id).await.unwrap().unwrap();
    let mut apply = unchanged(&lease);
    apply.sent_at -= Duration::from_secs(40);
    subject.apply(&apply).await;
    let facts = subject.reads.freshness(key.team, &[DataType::Environments]).await.unwrap();
    let age = facts[0].now - facts[0].verified_at.expect("verified");
    assert!((39..=45).contains(&age.whole_seconds()), "{age}");
    assert_eq!(facts[0].verified_by, Some(lease.mode));
    let seen = subject.reads.item(key.team, DataType::Environments, &id).await.unwrap().unwrap();
    assert_eq!(Some(seen.synced_at), facts[0].verified_at);
    assert!(seen.synced_at > written.synced_at);
}

/// A table that was not verified keeps its time.
pub async fn an_unverified_table_keeps_its_time(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let mut apply = listing(&lease, &[site(1)]);
    apply.tables[1].verified = false;
    subject.apply(&apply).await;
    let tables = [DataType::Environments, DataType::Nodes];
    let facts = subject.reads.freshness(key.team, &tables).await.unwrap();
    assert!(facts[0].verified_at.is_some());
    assert_eq!(facts[1].verified_at, None);
}

/// Missing once: served, in doubt; the first time of missing stays.
pub async fn a_missing_row_is_served_with_a_doubt(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1)]).await;
    let id = site(1).external_id();
    let mut since = None;
    for run in 2..=3 {
        let lease = subject.lease_again(key, run).await;
        let mut apply = unchanged(&lease);
        apply.tables[0].missing = vec![(id.clone(), MissingReason::AbsentOnce)];
        subject.apply(&apply).await;
        let row = subject.reads.item(key.team, DataType::Environments, &id).await.unwrap().unwrap();
        assert!(row.needs_validation && !row.stale);
        // Where time passes by moving what is stored, this time moves, too.
        assert!(row.missing_since <= *since.get_or_insert(row.missing_since));
    }
    assert_eq!(ops(subject, &id).await, ["missing"]);
    let lease = subject.lease_again(key, 4).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![returned(site(1).item())]);
    subject.apply(&apply).await;
    let row = &subject.store.baseline(key).await.unwrap().environments[&id];
    assert!(!row.flags.any(), "an upsert clears every doubt");
    assert_eq!(ops(subject, &id).await, ["missing", "returned"]);
}

/// What the key is refused is kept, shown, and forgotten with the key.
pub async fn a_refusal_is_kept_and_shown(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = ScopeKey::new(TeamId(1), Scope::JobLogs);
    let lease = subject.lease(key, 1).await;
    assert!(lease.refused.is_empty());
    let mut apply = unchanged(&lease);
    let now = lease.database_now.replace_nanosecond(0).unwrap();
    apply.refused.note(Capability::SearchActions, now);
    apply.completeness = Completeness::Partial(PartialReason::CapabilityMissing);
    apply.tables[0].verified = false;
    subject.apply(&apply).await;
    let status = subject.scope(key).await;
    assert_eq!(status.refused.at(Capability::SearchActions), Some(now));
    assert!(status.resting.is_none() && status.failures == 0 && status.last_full_at.is_none());
    assert!(subject.scope(environments_of(1)).await.refused.is_empty(), "each scope for itself");
    let facts = subject.reads.freshness(key.team, &[DataType::JobLogs]).await.unwrap();
    assert_eq!(facts[0].verified_at, None, "nothing was verified");

    let lease = subject.lease_again(key, 2).await;
    assert_eq!(lease.refused.at(Capability::SearchActions), Some(now));
    let mut apply = unchanged(&lease);
    apply.refused.note(Capability::GetEnvInfo, now);
    apply.refused.clear(Capability::SearchActions);
    subject.apply(&apply).await;
    let refused = subject.scope(key).await.refused;
    assert_eq!(refused.iter().collect::<Vec<_>>(), [(Capability::GetEnvInfo, now)]);

    let other = SecretString::from("another key".to_owned());
    let refuse = OnOtherAccount::Refuse;
    subject.credentials.replace(key.team, other, OWNER_UID, refuse, "test").await.unwrap();
    assert!(subject.scope(key).await.refused.is_empty(), "another key may do other things");
}

/// A scheduled full that left a doubt comes again as a full once its wait is
/// over, although nobody asked for it.
pub async fn a_doubtful_full_comes_again_as_one(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1)]).await;
    let lease = subject.lease_again(key, 2).await;
    assert_eq!((lease.mode, lease.requested_at), (Mode::Full, None));
    let mut apply = unchanged(&lease);
    apply.completeness = Completeness::Partial(PartialReason::Truncated);
    apply.tables.iter_mut().for_each(|table| table.verified = false);
    let failure = Failure::new(FailureClass::Retryable, "truncated", "the body ended early");
    apply.doubt = Some(Doubt { failure, wait: Duration::from_secs(10), sustained: Sustained::No });
    apply.due = lease.due;
    subject.apply(&apply).await;
    assert!(subject.claims(key).await.is_none(), "the doubt's wait comes first");
    subject.pace.pass(Duration::from_secs(11)).await;
    let lease = subject.lease(key, 3).await;
    assert_eq!((lease.mode, lease.requested_at, lease.failures), (Mode::Full, None, 1));
}

/// A row that failed its schema stays served, in doubt.
pub async fn a_quarantined_row_is_served_with_a_doubt(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1)]).await;
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].quarantined = vec![malformed("appid-00001"), malformed("appid-00077")];
    subject.apply(&apply).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    let flags = baseline.environments[&site(1).external_id()].flags;
    assert!(flags.quarantined && flags.needs_validation && !flags.stale);
    assert_eq!(baseline.environments.len(), 1, "no row is made of what cannot be read");
}

/// A name that no table can hold costs its element, not the commit.
pub async fn a_nonsense_name_fails_no_commit(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let mut apply = listing(&lease, &[site(1)]);
    apply.tables[0].quarantined = vec![malformed("appid\0-00007"), malformed("")];
    subject.apply(&apply).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.environments.len(), 1);
    assert!(!baseline.environments[&site(1).external_id()].flags.any());
}

/// Staged rows are flipped by the apply, the last of one id; before that, and
/// after an overtaken apply, nobody sees them.
pub async fn staged_rows_appear_with_the_commit(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let first = vec![insert(site(1).item()), insert(site(2).item())];
    subject.store.stage(&lease.name, first).await.unwrap();
    let again = vec![insert(site(2).with_status(2).item())];
    subject.store.stage(&lease.name, again).await.unwrap();
    assert!(subject.store.baseline(key).await.unwrap().environments.is_empty());
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Staged;
    apply.tables[1].upserts = Upserts::Staged;
    subject.apply(&apply).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    assert_eq!(baseline.environments.len(), 2);
    assert_eq!(baseline.environments[&site(2).external_id()].status, Some(2));

    let lost = subject.lease_again(key, 2).await;
    subject.store.stage(&lost.name, vec![insert(site(9).item())]).await.unwrap();
    subject.store.release(run_id(2)).await.unwrap();
    let mut late = unchanged(&lost);
    late.tables[0].upserts = Upserts::Staged;
    assert_eq!(subject.store.apply(&late).await.unwrap(), Applied::Overtaken);
    let lease = subject.lease(key, 3).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Staged;
    subject.apply(&apply).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().environments.len(), 2);
}

/// A changed row keeps its first sight, and its change row keeps both ways.
pub async fn a_change_can_be_undone(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1)]).await;
    let id = site(1).external_id();
    let before = subject.reads.item(key.team, DataType::Environments, &id).await.unwrap().unwrap();
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![update(site(1).with_status(2).item())]);
    let event = subject.apply(&apply).await;
    let after = subject.reads.item(key.team, DataType::Environments, &id).await.unwrap().unwrap();
    // Where time passes by moving what is stored, this time moves, too.
    assert!(after.first_seen_at <= before.first_seen_at);
    assert_ne!(after.source_version, before.source_version);
    let undo = subject.reads.undo_since(key.team, DataType::Environments, &id, before.synced_at);
    let undo = undo.await.unwrap().expect("within retention");
    assert_eq!(undo.len(), 1);
    assert_eq!((undo[0].op.as_str(), undo[0].event_no), ("changed", event));
    assert_eq!(undo[0].job_id, lease.name.job);
    assert!(undo[0].undo.is_some() && undo[0].patch.is_some());
    let payloads = subject.store.payloads(key.team, DataType::Environments, &[id]).await.unwrap();
    let stored: serde_json::Value = serde_json::from_str(&payloads[0].1).unwrap();
    assert_eq!(stored["env"]["status"], 2);
}

/// A partial listing is written, but settles nothing: the wish stands, the
/// failure counts, the state waits.
pub async fn a_doubtful_commit_settles_nothing(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.request(key, Class::Manual).await;
    let lease = subject.lease(key, 1).await;
    subject.pace.pass(Duration::from_secs(1)).await;
    let mut apply = listing(&lease, &[site(1)]);
    apply.completeness = Completeness::Partial(PartialReason::Truncated);
    apply.tables.iter_mut().for_each(|table| table.verified = false);
    let failure = Failure::new(FailureClass::Retryable, "truncated", "the body ended early");
    apply.doubt = Some(Doubt { failure, wait: WAIT, sustained: Sustained::No });
    subject.apply(&apply).await;
    let status = subject.scope(key).await;
    assert!(status.requested_at.is_some() && status.not_before.is_some());
    assert_eq!((status.failures, status.last_full_at), (1, None));
    assert_eq!(subject.state_of(key, lease.name.job).await, JobState::Succeeded);
    assert_eq!(subject.store.baseline(key).await.unwrap().environments.len(), 1);
    let events = subject.events(key.team).await;
    let EventBody::Completed(done) = &events[0].body else { panic!("{:?}", events[0]) };
    assert_eq!((done.partial.as_deref(), done.verified_at), (Some("truncated"), None));
    assert_eq!(subject.claims(key).await, None);
    subject.pace.pass(Duration::from_mins(2)).await;
    let entry = subject.claims(key).await.expect("the wish stands");
    assert_eq!(entry.class, Class::Manual);
}

/// A listing that is doubtful for days is warned of, and then pauses its scope;
/// one that is whole forgets the warning.
pub async fn doubt_without_end_pauses_the_scope(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let mut run = 0;
    for (doubt, warned) in [
        (Some(Sustained::Warn), false),
        (Some(Sustained::No), true),
        (None, true),
        (Some(Sustained::Warn), false),
        (Some(Sustained::Pause), true),
    ] {
        run += 1;
        let lease = subject.lease_again(key, run).await;
        assert_eq!(lease.pause_warned, warned, "run {run}");
        let mut apply = unchanged(&lease);
        apply.doubt = doubt.map(|sustained| {
            apply.completeness = Completeness::Partial(PartialReason::Truncated);
            let failure = Failure::new(FailureClass::Retryable, "truncated", "it ended early");
            Doubt { failure, wait: WAIT, sustained }
        });
        subject.apply(&apply).await;
        let told = subject.scope(key).await.pause_warned_at.is_some();
        assert_eq!(told, doubt.is_some(), "run {run}");
    }
    subject.pace.pass(WAIT * 2).await;
    assert_eq!(subject.scope(key).await.status, "paused");
    assert_eq!(subject.claims(key).await, None);
    assert!(subject.claim().await.iter().all(|entry| entry.key.team == key.team), "it alone");
    subject.teams.set_paused(key.team, None).await.unwrap();
    let resumed = subject.scope(key).await;
    assert_eq!((resumed.failures, resumed.pause_warned_at), (0, None));
    assert!(!subject.lease(key, run + 1).await.pause_warned);
}

/// Body hash and cursor come back; rows written without a body forget the hash.
pub async fn body_and_cursor_are_kept(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let mut apply = listing(&lease, &[site(1)]);
    apply.body = Some(RawVersion([7; 32]));
    let cursor = Cursor { history_until: Some(lease.database_now), ahead_ms: -7 };
    apply.cursor = Some(cursor);
    subject.apply(&apply).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().body, Some(RawVersion([7; 32])));
    let lease = subject.lease_again(key, 2).await;
    let kept = lease.cursor.as_ref().expect("kept");
    assert_eq!(kept.ahead_ms, -7);
    assert_eq!(lease.expected, Some(1));
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![update(site(1).with_status(2).item())]);
    apply.counts.updated = 1;
    subject.apply(&apply).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().body, None);
}

/// Tables that runs only append to.
pub async fn actions_are_appended_and_known(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = ScopeKey::new(TeamId(1), Scope::JobLogs);
    let lease = subject.lease(key, 1).await;
    let mut apply = unchanged(&lease);
    let items = [action_item(1, "StartEnv"), action_item(2, "StopEnv")];
    apply.tables[0].upserts = Upserts::Inline(items.clone().into_iter().map(insert).collect());
    subject.apply(&apply).await;
    let ids = [items[1].id.clone(), ExternalId::from("404")];
    let known = subject.store.known(key.team, DataType::JobLogs, &ids).await.unwrap();
    assert_eq!(known, [(items[1].id.clone(), items[1].source_version)]);
    assert!(subject.store.baseline(key).await.unwrap().environments.is_empty());
}

/// A long history is staged and flipped like the others, and counted once.
pub async fn staged_actions_appear_with_the_commit(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = ScopeKey::new(TeamId(1), Scope::JobLogs);
    let lease = subject.lease(key, 1).await;
    let page = |from: u32| (from..from + 10).map(|n| insert(action_item(n, "StartEnv"))).collect();
    for from in [1, 11, 11] {
        subject.store.stage(&lease.name, page(from)).await.unwrap();
    }
    let ids: Vec<ExternalId> = (1..=20).map(|n| action_item(n, "StartEnv").id).collect();
    let known = async || {
        let known = subject.store.known(key.team, DataType::JobLogs, &ids).await.unwrap();
        known.len()
    };
    assert_eq!(known().await, 0, "nobody sees them before");
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Staged;
    apply.tables[0].counts.inserted = 20;
    subject.apply(&apply).await;
    assert_eq!(known().await, 20);
    let query = ItemQuery {
        team: key.team,
        data_type: DataType::JobLogs,
        filters: Vec::new(),
        text: None,
        sort: "id".to_owned(),
        descending: false,
        after: None,
        limit: 100,
        include_stale: false,
    };
    assert_eq!(subject.reads.items(&query).await.unwrap().rows.len(), 20);
}

/// One team's commit touches nothing of another's, even with the same ids.
pub async fn teams_are_isolated(subject: &StoreSubject) {
    subject.with_teams(&[1, 2]).await;
    subject.load(environments_of(1), 1, &[site(1)]).await;
    subject.load(environments_of(2), 2, &[site(1).with_status(2)]).await;
    let lease = subject.lease_again(environments_of(1), 3).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].stale = vec![(site(1).external_id(), StaleReason::Deleted)];
    subject.apply(&apply).await;
    let other = subject.store.baseline(environments_of(2)).await.unwrap();
    let row = &other.environments[&site(1).external_id()];
    assert_eq!((row.status, row.flags.stale), (Some(2), false));
    assert!(subject.store.archive_work(TeamId(2), 10).await.unwrap().is_empty());
}

/// Tests of [`Store::apply`](crate::ports::store::Store::apply).
#[macro_export]
macro_rules! store_apply_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, store_apply:
            a_commit_appears_as_a_whole, an_overtaken_run_commits_nothing,
            verified_at_is_when_the_request_was_sent, an_unverified_table_keeps_its_time,
            a_missing_row_is_served_with_a_doubt,
            a_quarantined_row_is_served_with_a_doubt, a_nonsense_name_fails_no_commit, staged_rows_appear_with_the_commit,
            a_refusal_is_kept_and_shown, a_doubtful_full_comes_again_as_one,
            a_change_can_be_undone, a_doubtful_commit_settles_nothing, doubt_without_end_pauses_the_scope, body_and_cursor_are_kept,
            actions_are_appended_and_known, staged_actions_appear_with_the_commit, teams_are_isolated);
    };
}
