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
