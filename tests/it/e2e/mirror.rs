//! The mirror is what the platform holds, and no row is written in vain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vz_sync::simulator::{Change, EnvironmentSummary, Mutation};

use crate::support::service::World;

/// Inserts, updates and deletes of a table.
type Writes = (i64, i64, i64);

/// The mirrored tables' writes so far. The service must have stopped: its
/// sessions tell their statistics when they end.
async fn writes(world: &World) -> BTreeMap<String, Writes> {
    world.alone().await;
    let query = "select relname::text, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables
                 where relname in ('environments', 'nodes', 'archived_sites', 'job_logs')";
    let rows = world.sql(query, &[]).await;
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_full_writes_no_row_and_one_percent_exactly_its_rows() {
    let mut world = World::start(1, 301, 2).await;
    // Something in each table: one environment goes, and the history tells who did it.
    let platform = world.simulator().world();
    let gone = platform.summary(world.uid(1)).expect("an account").items[7].clone();
    platform.delete(world.uid(1), &gone.name, false).expect("it goes");
    for scope in ["environments", "archived_sites", "job_logs"] {
        world.synced(1, scope, "full").await;
    }
    world.stop().await;
    let loaded = writes(&world).await;
    assert_eq!(loaded["environments"], (301, 1, 0), "control: the first load is counted");
    assert_eq!(loaded["nodes"], (602, 2, 0), "control: the first load is counted");
    let annotated = "select count(*) from archived_sites where deleted_by is not null";
    assert_eq!(world.number(annotated, &[]).await, 1, "control: there is a site, and it is known");
    assert_eq!(loaded["archived_sites"].0, 1);
    assert!(loaded["job_logs"].0 > 0, "control: there is an action");

    world.start_again().await;
    for scope in ["environments", "archived_sites", "job_logs"] {
        let done = world.synced(1, scope, "full").await;
        assert_eq!(done.data()["changed"], Value::Array(Vec::new()), "{scope}");
    }
    world.stop().await;
    assert_eq!(writes(&world).await, loaded, "an unchanged full writes nothing");

    let before = rows(&world.mirror(1).await);
    let order = Mutation {
        count: Some(3),
        kinds: vec![Change::Rename, Change::Cloudlets, Change::Power],
        ..Mutation::default()
    };
    world.simulator().world().mutate(world.uid(1), &order).expect("it changes");
    world.start_again().await;
    let done = world.synced(1, "environments", "full").await;
    world.stop().await;

    world.assert_mirrored(1, "after 1 %").await;
    let after = rows(&world.mirror(1).await);
    let changed: BTreeSet<(String, String)> =
        after.difference(&before).map(|(table, id, _)| (table.clone(), id.clone())).collect();
    let of = |table: &str| changed.iter().filter(|(name, _)| name == table).count() as i64;
    assert_eq!(of("environments"), 2, "renamed and powered");
    assert_eq!(of("nodes"), 3, "scaled, and both of the powered one");

    let now = writes(&world).await;
    assert_eq!(now["environments"], (301, 1 + of("environments"), 0));
    assert_eq!(now["nodes"], (602, 2 + of("nodes"), 0));
    assert_eq!(now["archived_sites"], loaded["archived_sites"]);
    assert_eq!(now["job_logs"], loaded["job_logs"]);

    let told: BTreeSet<(String, String)> = done.data()["changed"]
        .as_array()
        .expect("changed ids")
        .iter()
        .map(|id| (text(&id["data_type"]), text(&id["id"])))
        .collect();
    assert_eq!(told, changed, "the event names them");
    assert_eq!(done.data()["truncated"], false);

    let query = "select data_type, external_id, op, patch, undo from resource_changes
                 where team_id = 1 and job_id = $1";
    let job = done.data()["job_id"].as_i64();
    let kept = world.sql(query, &[&job]).await;
    let recorded: BTreeSet<(String, String)> =
        kept.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(recorded, changed, "change rows are kept for them");
    for row in &kept {
        assert_eq!(row.get::<_, &str>(2), "changed");
        for column in [3, 4] {
            let patch: Option<Value> = row.get(column);
            let steps = patch.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
            assert!(steps > 0, "patch and undo say how: {row:?}");
        }
    }
    let first = "select count(*) from resource_changes where job_id <> $1 and op <> 'stale'";
    assert_eq!(world.number(first, &[&job]).await, 0, "the first load writes none");
}

/// What the rows of a mirror say, one value each.
fn rows(items: &[EnvironmentSummary]) -> BTreeSet<(String, String, String)> {
    let mut rows = BTreeSet::new();
    for item in items {
        let said = format!("{} {} {:?}", item.name, item.status, item.display_name);
        rows.insert(("environments".to_owned(), item.appid.clone(), said));
        for node in &item.nodes {
            rows.insert(("nodes".to_owned(), node.id.to_string(), format!("{node:?}")));
        }
    }
    rows
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mirror_is_what_the_platform_holds_after_fulls_and_deltas() {
    let world = World::start(2, 40, 3).await;
    for team in [1, 2] {
        world.assert_mirrored(team, "after the first load").await;
    }
    let platform = world.simulator().world();
    for round in 0..3 {
        for mode in ["full", "delta"] {
            let happened = platform.step(25);
            assert!(!happened.is_empty(), "control: there is something to see");
            // Some changes are still under way, then they settle.
            for settled in [false, true] {
                if settled {
                    platform.settle();
                }
                for team in [1, 2] {
                    world.synced(team, "environments", mode).await;
                    let when =
                        format!("round {round}, after a {mode}, settled: {settled}: {happened:?}");
                    world.assert_mirrored(team, &when).await;
                }
            }
        }
    }
}
