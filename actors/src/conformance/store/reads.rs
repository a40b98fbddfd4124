//! The exam of the queries behind the API.

use std::time::Duration;

use super::{StoreSubject, unchanged};
use crate::domain::removal::StaleReason;
use crate::domain::{Class, DataType, JobId, JobState, Scope, TeamId};
use crate::ports::reads::{ItemQuery, sort_fields};
use crate::testkit::fixtures::{Environment, environments_of, sync_request};

fn all(data_type: DataType) -> ItemQuery {
    ItemQuery {
        team: TeamId(1),
        data_type,
        filters: Vec::new(),
        text: None,
        sort: sort_fields(data_type)[0].to_owned(),
        descending: false,
        after: None,
        limit: 100,
        include_stale: false,
    }
}

async fn loaded(subject: &StoreSubject) {
    subject.with_teams(&[1, 2]).await;
    let sites: Vec<_> =
        (1..=7).map(|n| Environment::new(n, 2).with_status(1 + (n as i32) % 2)).collect();
    subject.load(environments_of(1), 1, &sites).await;
    subject.load(environments_of(2), 2, &[Environment::new(1, 1)]).await;
}

async fn ids(subject: &StoreSubject, query: &ItemQuery) -> Vec<String> {
    let page = subject.reads.items(query).await.unwrap();
    page.rows.into_iter().map(|row| row.id.to_string()).collect()
}

/// Pages meet without gap or overlap, in both directions and for every sort.
pub async fn pages_meet(subject: &StoreSubject) {
    loaded(subject).await;
    for data_type in [DataType::Environments, DataType::Nodes] {
        for sort in sort_fields(data_type) {
            for descending in [false, true] {
                let mut query =
                    ItemQuery { sort: (*sort).to_owned(), descending, ..all(data_type) };
                let whole = ids(subject, &query).await;
                query.limit = 3;
                let mut paged = Vec::new();
                loop {
                    let page = subject.reads.items(&query).await.unwrap();
                    paged.extend(page.rows.into_iter().map(|row| row.id.to_string()));
                    query.after = page.next;
                    if query.after.is_none() {
                        break;
                    }
                }
                assert_eq!(paged, whole, "{data_type} by {sort}");
                assert_eq!(whole.len(), if data_type == DataType::Nodes { 14 } else { 7 });
            }
        }
    }
}

/// Filters and text search; unknown fields are refused.
pub async fn filters_and_search_narrow(subject: &StoreSubject) {
    loaded(subject).await;
    let filtered = |field: &str, value: &str| ItemQuery {
        filters: vec![(field.to_owned(), value.to_owned())],
        ..all(DataType::Environments)
    };
    assert_eq!(ids(subject, &filtered("status", "1")).await.len(), 3);
    assert_eq!(ids(subject, &filtered("env_name", "env-00003")).await, ["appid-00003"]);
    assert_eq!(ids(subject, &filtered("group", "all")).await.len(), 7);
    assert!(ids(subject, &filtered("group", "none")).await.is_empty());
    let search = ItemQuery { text: Some("ENV-00005".to_owned()), ..all(DataType::Environments) };
    assert_eq!(ids(subject, &search).await, ["appid-00005"]);
    assert!(subject.reads.items(&filtered("payload", "x")).await.is_err());
    let unsorted = ItemQuery { sort: "payload".to_owned(), ..all(DataType::Environments) };
    assert!(subject.reads.items(&unsorted).await.is_err());
    let nodes = ItemQuery {
        filters: vec![("environment_id".to_owned(), "appid-00002".to_owned())],
        ..all(DataType::Nodes)
    };
    assert_eq!(ids(subject, &nodes).await, ["2000", "2001"]);
}

/// Confirmed-gone rows are shown only on demand.
pub async fn stale_rows_are_shown_on_demand(subject: &StoreSubject) {
    loaded(subject).await;
    let lease = subject.lease_again(environments_of(1), 3).await;
    let mut apply = unchanged(&lease);
    let gone = Environment::new(3, 2).external_id();
    apply.tables[0].stale = vec![(gone.clone(), StaleReason::Deleted)];
    subject.apply(&apply).await;
    assert_eq!(ids(subject, &all(DataType::Environments)).await.len(), 6);
    let with = ItemQuery { include_stale: true, ..all(DataType::Environments) };
    assert_eq!(ids(subject, &with).await.len(), 7);
    let row = subject.reads.item(TeamId(1), DataType::Environments, &gone).await.unwrap();
    let row = row.expect("one row is shown, stale or not");
    assert!(row.stale && row.stale_since.is_some());
    assert_eq!(ids(subject, &all(DataType::ArchivedSites)).await, [gone.to_string()]);
}

/// Rows carry columns and payload as JSON, and the version in hex.
pub async fn a_row_tells_columns_and_payload(subject: &StoreSubject) {
    loaded(subject).await;
    let site = Environment::new(1, 2).with_status(2);
    let row = subject.reads.item(TeamId(1), DataType::Environments, &site.external_id()).await;
    let row = row.unwrap().expect("loaded");
    assert_eq!(row.source_version, site.item().source_version.to_string());
    let columns: serde_json::Value = serde_json::from_str(&row.columns).unwrap();
    assert_eq!((&columns["env_name"], &columns["status"]), (&"env-00001".into(), &2.into()));
    let payload: serde_json::Value = serde_json::from_str(&row.payload).unwrap();
    assert_eq!(payload["env"]["appid"], "appid-00001");
    let nodes = subject.reads.nodes_of(TeamId(1), &[site.external_id()], false).await.unwrap();
    assert_eq!(nodes[&site.external_id()].len(), 2);
    let others = subject.reads.item(TeamId(2), DataType::Environments, &"appid-00002".into()).await;
    assert!(others.unwrap().is_none());
}

/// Freshness facts before and after the first complete answer.
pub async fn freshness_facts_are_told(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let team = TeamId(1);
    let before = subject.reads.freshness(team, &DataType::ALL).await.unwrap();
    assert_eq!(before.len(), 4);
    assert!(before.iter().all(|facts| facts.verified_at.is_none()));
    assert_eq!(before[0].max_allowed_staleness, Duration::from_mins(15));
    let stalest = subject.reads.staleness(100).await.unwrap();
    assert_eq!(stalest.len(), 4);
    assert!(stalest.iter().all(|row| row.age.is_none()));
    subject.load(environments_of(1), 1, &[Environment::new(1, 1)]).await;
    subject.pace.pass(Duration::from_mins(20)).await;
    let after = subject.reads.freshness(team, &[DataType::Nodes]).await.unwrap();
    let age = after[0].now - after[0].verified_at.expect("verified");
    assert!((1200..=1210).contains(&age.whole_seconds()), "{age}");
    assert_eq!(after[0].scope.key, environments_of(1));
    let first = subject.reads.staleness(2).await.unwrap();
    assert!(first.iter().all(|row| row.age.is_none()), "the never verified are stalest");
}

/// Jobs newest first, with paging, within the team.
pub async fn the_history_of_jobs_is_told(subject: &StoreSubject) {
    loaded(subject).await;
    let team = TeamId(1);
    for run in 3..=5 {
        let lease = subject.lease_again(environments_of(1), run).await;
        subject.apply(&unchanged(&lease)).await;
    }
    let scope = Some(Scope::Environments);
    let jobs = subject.reads.jobs(team, scope, None, 10).await.unwrap();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.is_sorted_by_key(|job| std::cmp::Reverse(job.id)));
    assert!(jobs.iter().all(|job| job.state == JobState::Succeeded && job.finished_at.is_some()));
    let page = subject.reads.jobs(team, scope, Some(jobs[1].id), 1).await.unwrap();
    assert_eq!(page, [jobs[2].clone()]);
    assert_eq!(subject.reads.job(TeamId(2), jobs[0].id).await.unwrap(), None);
    assert_eq!(subject.reads.job(team, JobId(9_999)).await.unwrap(), None);
}

/// What a scope does is told by one word and the facts behind it.
pub async fn a_scopes_status_follows_its_life(subject: &StoreSubject) {
    subject.with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = subject.lease(key, 1).await;
    assert_eq!(subject.scope(key).await.status, "running");
    subject.apply(&unchanged(&lease)).await;
    let idle = subject.scope(key).await;
    assert_eq!((idle.status.as_str(), idle.queued), ("idle", None));
    subject.store.request(&sync_request(key, Class::Manual)).await.unwrap();
    let queued = subject.scope(key).await;
    assert_eq!(queued.status, "queued");
    assert_eq!(queued.queued.map(|job| job.class), Some(Class::Manual));
    subject.credentials.erase(key.team).await.unwrap();
    assert_eq!(subject.scope(key).await.status, "disabled");
    assert_eq!(subject.reads.scopes(TeamId(404)).await.unwrap(), None);
}

/// Summaries count live rows by status.
pub async fn teams_are_summed_up(subject: &StoreSubject) {
    loaded(subject).await;
    let teams = [TeamId(1), TeamId(404)];
    let summaries = subject.reads.teams(&teams).await.unwrap();
    assert_eq!(summaries.len(), 1);
    let summary = &summaries[0];
    assert_eq!((summary.name.as_str(), summary.nodes), ("team 1", 14));
    assert_eq!(summary.environments_by_status.get(&2), Some(&4));
    assert_eq!(summary.environments_by_status.get(&1), Some(&3));
}

/// Tests of a [`Reads`](crate::ports::reads::Reads) adapter.
#[macro_export]
macro_rules! reads_exam {
    ($attr:tt, $make:expr) => {
        $crate::exam!($attr, $make, reads:
            pages_meet, filters_and_search_narrow, stale_rows_are_shown_on_demand,
            a_row_tells_columns_and_payload, freshness_facts_are_told,
            the_history_of_jobs_is_told, a_scopes_status_follows_its_life, teams_are_summed_up);
    };
}
