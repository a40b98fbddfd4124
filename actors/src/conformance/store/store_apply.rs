//! The exam of the commit: guarded, whole, honest.

use std::time::Duration;

use super::{StoreSubject, listing, unchanged};
use crate::domain::removal::{MissingReason, StaleReason};
use crate::domain::{
    Class, Completeness, DataType, EventBody, ExternalId, Failure, FailureClass, JobState,
    PartialReason, RawVersion, Scope, ScopeKey, TeamId,
};
use crate::ports::reads::ChangeQuery;
use crate::ports::store::{Annotation, Applied, Cursor, Doubt, Upserts};
use crate::testkit::fixtures::{
    Environment, action_item, environments_of, insert, malformed, returned, run_id, update,
};

fn site(n: u32) -> Environment {
    Environment::new(n, 2)
}

async fn ops(subject: &StoreSubject, id: &ExternalId) -> Vec<String> {
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

/// Stale: kept, archived with its nodes, un-archived when it comes back.
pub async fn a_stale_environment_is_archived_until_it_returns(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1), site(2)]).await;
    let id = site(1).external_id();
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].stale = vec![(id.clone(), StaleReason::Deleted)];
    let nodes = site(1).node_items().into_iter();
    apply.tables[1].stale = nodes.map(|node| (node.id, StaleReason::EnvironmentGone)).collect();
    subject.apply(&apply).await;

    let baseline = subject.store.baseline(key).await.unwrap();
    assert!(baseline.environments[&id].flags.stale);
    assert_eq!(baseline.nodes.values().filter(|row| row.flags.stale).count(), 2);
    let archived = subject.reads.item(key.team, DataType::ArchivedSites, &id).await.unwrap();
    assert!(!archived.expect("archived").stale);
    let work = subject.store.archive_work(key.team, 10).await.unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!((&work[0].id, work[0].env_name.as_str()), (&id, "env-00001"));
    assert_eq!(ops(subject, &id).await, ["stale"]);

    let lease = subject.lease_again(key, 3).await;
    let mut apply = unchanged(&lease);
    apply.tables[0].upserts = Upserts::Inline(vec![returned(site(1).item())]);
    subject.apply(&apply).await;
    assert!(!subject.store.baseline(key).await.unwrap().environments[&id].flags.stale);
    assert!(subject.store.archive_work(key.team, 10).await.unwrap().is_empty());
}

/// The archive learns who deleted a site; the unknown and the oldest go first.
pub async fn the_archive_is_annotated(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let sites = [site(1), site(2), site(3)];
    subject.load(key, 1, &sites).await;
    let lease = subject.lease_again(key, 2).await;
    let mut apply = unchanged(&lease);
    let stale = sites.iter().map(|site| (site.external_id(), StaleReason::Deleted));
    apply.tables[0].stale = stale.collect();
    subject.apply(&apply).await;

    let archive = ScopeKey::new(key.team, Scope::ArchivedSites);
    let lease = subject.lease(archive, 3).await;
    let mut apply = unchanged(&lease);
    let note = |n: u32, by: Option<&str>, probed| Annotation {
        id: site(n).external_id(),
        deleted_by: by.map(ToOwned::to_owned),
        deleted_at: None,
        probed,
    };
    apply.annotations = vec![note(1, Some("bob"), Some(false)), note(2, None, Some(false))];
    apply.wake = Some(Scope::Environments);
    subject.apply(&apply).await;
    let work = subject.store.archive_work(key.team, 10).await.unwrap();
    let order: Vec<_> = work.iter().map(|site| (site.id.as_str(), site.annotated)).collect();
    assert_eq!(order, [("appid-00003", false), ("appid-00002", false), ("appid-00001", true)]);
    assert!(work[0].probed_at.is_none() && work[1].probed_at.is_some());
    assert!(subject.claims(key).await.is_some(), "the environments were woken");
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

/// A row that the listing did not speak of stays served, in doubt, and does
/// not share in its table's verification.
pub async fn a_row_that_nothing_was_said_of_is_in_doubt(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    subject.load(key, 1, &[site(1), site(2)]).await;
    let lease = subject.lease_again(key, 2).await;
    let unseen = site(1).node_items().remove(0).id;
    let mut apply = unchanged(&lease);
    apply.tables[1].unseen = vec![unseen.clone()];
    subject.apply(&apply).await;
    let baseline = subject.store.baseline(key).await.unwrap();
    for (id, row) in &baseline.nodes {
        assert_eq!(row.flags.needs_validation, *id == unseen, "{id}");
        assert_eq!(row.fence == lease.name.fence, *id == unseen, "{id}");
        assert!(!row.flags.stale && !row.flags.quarantined && row.flags.missing_since.is_none());
    }
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
    assert!(subject.store.baseline(key).await.unwrap().is_empty());
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
    apply.doubt = Some(Doubt { failure, wait: Duration::from_mins(1) });
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

/// Body hash and cursor come back; rows written without a body forget the hash.
pub async fn body_and_cursor_are_kept(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    let mut apply = listing(&lease, &[site(1)]);
    apply.body = Some(RawVersion([7; 32]));
    let cursor = Cursor { history_until: Some(lease.database_now), tracking_refused: true };
    apply.cursor = Some(cursor.clone());
    subject.apply(&apply).await;
    assert_eq!(subject.store.baseline(key).await.unwrap().body, Some(RawVersion([7; 32])));
    let lease = subject.lease_again(key, 2).await;
    let kept = lease.cursor.as_ref().expect("kept");
    assert!(kept.tracking_refused);
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
    assert!(subject.store.baseline(key).await.unwrap().is_empty());
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
            a_stale_environment_is_archived_until_it_returns, the_archive_is_annotated,
            a_quarantined_row_is_served_with_a_doubt,
            a_row_that_nothing_was_said_of_is_in_doubt, staged_rows_appear_with_the_commit,
            a_change_can_be_undone, a_doubtful_commit_settles_nothing, body_and_cursor_are_kept,
            actions_are_appended_and_known, teams_are_isolated);
    };
}
