//! A strange element among good ones.

use std::collections::BTreeSet;

use serde_json::Value;
use vz_sync::simulator::Fault;

use crate::support::trouble::{Meets, Scene, Trouble};

impl Scene {
    /// What is served otherwise than before, after making sure that nothing else is.
    async fn differing(&self) -> BTreeSet<String> {
        let served = self.world.served().await;
        assert!(served.keys().eq(self.before.keys()), "the same rows are served");
        let rows = served.into_iter().filter(|(id, row)| self.before[id] != *row);
        rows.map(|(id, _)| id).collect()
    }

    /// The only row that differs, which must be an environment.
    async fn strange(&self) -> Value {
        let differing = self.differing().await;
        let ids: Vec<_> =
            differing.iter().filter_map(|id| id.strip_prefix("environments ")).collect();
        let [id] = ids[..] else { panic!("one environment: {differing:?}") };
        self.world.api(&format!("/teams/1/environments/{id}")).await
    }

    async fn quarantined(&self) -> i64 {
        self.world.number("select count(*) from vz_sync_quarantine", &[]).await
    }
}

async fn strange(fault: Fault) -> Scene {
    Trouble::of(&fault).strikes(Meets::Success).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicate_ids() {
    Trouble::of(&Fault::Duplicate { count: 3 }).meets(Meets::Success).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_character() {
    let scene = strange(Fault::Nul).await;
    let row = scene.strange().await;
    let name = row["item"]["display_name"].as_str().expect("a name");
    assert!(!name.contains('\0') && name.starts_with('a') && name.ends_with('b'), "{name:?}");
    scene.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_utf8() {
    let scene = strange(Fault::BadUtf8).await;
    let row = scene.strange().await;
    assert_eq!(row["item"]["display_name"], "a\u{fffd}\u{fffd}b");
    scene.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_status_number() {
    let scene = strange(Fault::UnknownStatus { code: 4711, count: 1 }).await;
    let row = scene.strange().await;
    assert_eq!(row["item"]["status"]["code"], 4711);
    assert_eq!(row["item"]["status"]["name"], "UNKNOWN");
    scene.recovers().await;
}

/// The last good row is served in doubt, until a run reads it again.
async fn is_quarantined(fault: Fault) {
    let scene = strange(fault).await;
    let row = scene.strange().await;
    assert_eq!(row["item"]["needs_validation"], true, "{row}");
    let doubtful = scene.differing().await;
    assert_eq!(doubtful.len(), 3, "and so are its nodes, of which nothing was said: {doubtful:?}");
    let id = format!("environments {}", row["item"]["id"].as_str().expect("an id"));
    assert_eq!(row["item"]["source_version"], *scene.before[&id].version);
    assert_eq!(row["freshness"]["freshness"], "stale", "the row is as old as its last good form");
    assert_eq!(scene.quarantined().await, 1);
    let world = scene.recovers().await;
    assert_eq!(world.number("select count(*) from vz_sync_quarantine", &[]).await, 0);
    assert!(world.served().await.values().all(|row| !row.doubtful));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_element() {
    is_quarantined(Fault::MalformedElement { n: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting() {
    is_quarantined(Fault::Deep { levels: 100_000 }).await;
}

/// An answer without nodes says nothing of them, and not that there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_without_a_word_on_its_nodes() {
    let scene = strange(Fault::NodesMissing { count: 1 }).await;
    let differing = scene.differing().await;
    assert_eq!(differing.len(), 2, "its nodes are served in doubt: {differing:?}");
    assert!(differing.iter().all(|id| id.starts_with("nodes ")));
    scene.recovers().await;
}
