//! Readers see a whole sync or none of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vz_sync::simulator::{Change, Mutation};

use crate::support::service::World;

const MANY: i64 = 10_000;

/// How many rows carry the fence of which run, in one statement: every row
/// changes with the run, so two fences in one answer are a mixture.
const GENERATIONS: &str = "
    select count(*), count(*) filter (where display_name like 'Renamed %'),
           count(distinct fence), (select count(distinct fence) from nodes where team_id = 1),
           min(fence) = (select min(fence) from nodes where team_id = 1)
    from environments where team_id = 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_of_10_000_changing_environments_never_see_a_mixture() {
    let world = Arc::new(World::start(1, MANY as usize, 1).await);
    for kind in [Change::Rename, Change::Cloudlets] {
        let order =
            Mutation { count: Some(MANY as usize), kinds: vec![kind], ..Mutation::default() };
        world.simulator().world().mutate(world.uid(1), &order).expect("all change");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let sql = tokio::spawn({
        let (world, stop) = (world.clone(), stop.clone());
        async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let row = &world.sql(GENERATIONS, &[]).await[0];
                let (all, renamed): (i64, i64) = (row.get(0), row.get(1));
                let (environments, nodes): (i64, i64) = (row.get(2), row.get(3));
                assert_eq!(all, MANY);
                assert!(renamed == 0 || renamed == MANY, "{renamed} of {all} are new");
                assert_eq!((environments, nodes), (1, 1), "rows of two runs");
                assert!(row.get::<_, bool>(4), "nodes and environments of different runs");
                seen.push(renamed);
            }
            seen
        }
    });
    let api = tokio::spawn({
        let (world, stop) = (world.clone(), stop.clone());
        async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let page = world.api("/teams/1/environments?limit=100").await;
                let items = page["items"].as_array().expect("items");
                let new: BTreeSet<bool> = items
                    .iter()
                    .map(|item| {
                        let name = item["display_name"].as_str().unwrap_or_default();
                        name.starts_with("Renamed ")
                    })
                    .collect();
                assert_eq!((items.len(), new.len()), (100, 1), "a page of two runs");
                seen.push(new.contains(&true));
            }
            seen
        }
    });
    let done = world.synced(1, "environments", "full").await;
    assert_eq!(done.data()["counts"]["updated"], 2 * MANY, "every row: {done:?}");
    assert_eq!(done.data()["truncated"], true);
    stop.store(true, Ordering::Relaxed);
    let (sql, api) = (sql.await.expect("no mixture"), api.await.expect("no mixture"));
    assert!(sql.len() > 2 && sql[0] == 0, "control: it read before and during: {}", sql.len());
    assert!(api.len() > 2 && !api[0], "control: it read before and during: {}", api.len());
    assert_eq!(world.sql(GENERATIONS, &[]).await[0].get::<_, i64>(1), MANY);
    world.assert_mirrored(1, "afterwards").await;
    let left = world.number("select count(*) from sync_staging", &[]).await;
    assert_eq!(left, 0, "staging is emptied with the commit");

    let mut world = Arc::into_inner(world).expect("the readers have ended");
    world.stop().await;
    world.alone().await;
    let staged = "select n_tup_ins from pg_stat_user_tables where relname = 'sync_staging'";
    assert!(world.number(staged, &[]).await >= 4 * MANY, "control: both runs were staged");
}
