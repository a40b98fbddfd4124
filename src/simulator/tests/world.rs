//! The world: repeatable, and served from rendered bytes that are always up to date.

use std::collections::HashSet;

use super::{BASIC, GETENVS, OTHER_UID, TOKEN, UID, options, own, send, simulator, small};
use crate::simulator::render::{self, Form, OWNER};
use crate::simulator::{Change, Mutation, Simulator, World};

fn bodies(world: &World) -> Vec<bytes::Bytes> {
    [Form::Basic, Form::Full, Form::Lazy].map(|form| world.listing(0, form).body()).to_vec()
}

#[test]
fn the_seed_decides_everything() {
    let run = |seed| {
        let mut options = options(3, 5);
        options.seed = seed;
        let world = World::new(&options);
        let happened = world.step(60);
        world.mutate(UID, &Mutation { percent: Some(40.0), ..Mutation::default() }).unwrap();
        (happened, bodies(&world), world.summary(OTHER_UID).unwrap())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).2, run(6).2);
}

#[test]
fn the_order_of_first_looks_does_not_matter() {
    let one = World::new(&options(3, 5));
    let other = World::new(&options(3, 5));
    let first = one.summary(UID).unwrap();
    other.summary(OTHER_UID).unwrap();
    assert_eq!(first, other.summary(UID).unwrap());
}

#[test]
fn names_and_ids_are_unique_on_the_platform() {
    let world = World::new(&options(4, 30));
    world.step(400);
    let (mut keys, mut nodes) = (HashSet::new(), HashSet::new());
    for uid in world.accounts() {
        for item in world.summary(uid).unwrap().items {
            assert!(keys.insert(item.appid) && keys.insert(item.name));
            assert!(item.nodes.iter().all(|node| nodes.insert(node.id)));
        }
    }
    assert!(nodes.iter().all(|id| i32::try_from(*id).is_ok()), "ids are int32 on the wire");
}

/// A cache that is not told of a change, or told of the wrong one, differs from a fresh rendering.
#[test]
fn cached_bytes_equal_a_fresh_rendering_after_every_change() {
    let world = World::new(&options(2, 12));
    for round in 0..60 {
        world.step(1);
        if round % 10 == 0 {
            world.create(UID).unwrap();
            let name = world.summary(UID).unwrap().items[round % 3].name.clone();
            world.delete(UID, &name, true).unwrap();
        }
        for form in [Form::Basic, Form::Full, Form::Lazy] {
            let cached = world.listing(0, form);
            let fresh = world.with_estate(0, |estate| {
                let mut elements = Vec::new();
                for environment in estate.environments.values() {
                    let mut element = Vec::new();
                    render::environment(environment, form, OWNER, false, &mut element);
                    elements.push(bytes::Bytes::from(element));
                }
                elements
            });
            assert_eq!(cached.elements(), fresh, "round {round}");
            assert_eq!(cached.body(), crate::simulator::listing::envelope(&fresh));
        }
    }
}

#[test]
fn an_unchanged_listing_is_the_same_memory() {
    let world = World::new(&options(1, 5));
    let before = world.listing(0, Form::Basic).body();
    assert_eq!(before.as_ptr(), world.listing(0, Form::Basic).body().as_ptr());
    world.mutate(UID, &Mutation::default()).unwrap();
    assert_ne!(before.as_ptr(), world.listing(0, Form::Basic).body().as_ptr());
}

#[test]
fn each_kind_of_change_shows_in_hash_and_listing() {
    let world = World::new(&options(1, 5));
    for kind in [Change::Power, Change::Rename, Change::Scale, Change::Cloudlets, Change::Redeploy]
    {
        for _ in 0..20 {
            let before = (world.summary(UID).unwrap().hash, world.listing(0, Form::Basic).body());
            let order = Mutation { count: Some(2), kinds: vec![kind], ..Mutation::default() };
            assert_eq!(world.mutate(UID, &order).unwrap().len(), 2);
            let after = (world.summary(UID).unwrap().hash, world.listing(0, Form::Basic).body());
            assert_ne!(before.0, after.0, "{kind:?}");
            assert_ne!(before.1, after.1, "{kind:?}");
        }
    }
}

#[test]
fn a_percentage_changes_that_many_environments() {
    let world = World::new(&options(1, 200));
    let before = world.summary(UID).unwrap().items;
    let order = Mutation { percent: Some(1.0), ..Mutation::default() };
    let changed = world.mutate(UID, &order).unwrap();
    let after = world.summary(UID).unwrap().items;
    let differing = before.iter().zip(&after).filter(|(old, new)| old != new);
    let differing = differing.map(|(old, _)| old.name.clone()).collect::<Vec<_>>();
    assert_eq!(differing, changed);
    assert_eq!(changed.len(), 2);
}

#[test]
fn unknown_accounts_and_environments_are_named() {
    let world = World::new(&options(1, 1));
    assert!(world.summary(5).unwrap_err().to_string().contains("uid 5"));
    assert!(world.delete(UID, "none", true).unwrap_err().to_string().contains("`none`"));
}

#[tokio::test]
async fn the_mirror_of_a_listing_hashes_to_the_summary() {
    use crate::simulator::{AccountSummary, EnvironmentSummary, NodeSummary};
    let simulator = small().await;
    simulator.world().step(30);
    let listing = own(&simulator, BASIC, &[]).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    let items = super::infos(&listing).iter().map(|info| EnvironmentSummary {
        appid: text(&info["env"]["appid"]),
        name: text(&info["env"]["envName"]),
        display_name: info["env"]["displayName"].as_str().map(str::to_owned),
        status: number(&info["env"]["status"]) as u16,
        nodes: info["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| NodeSummary {
                id: number(&node["id"]) as i64,
                status: number(&node["status"]) as u16,
                node_group: text(&node["nodeGroup"]),
                flexible_cloudlets: number(&node["flexibleCloudlets"]) as u32,
                version: text(&node["version"]),
            })
            .collect(),
    });
    let items = items.collect::<Vec<_>>();
    let summary = simulator.world().summary(UID).unwrap();
    assert_eq!(AccountSummary::hash_of(&items), summary.hash);
}

#[tokio::test]
async fn the_world_evolves_by_itself_when_told_to() {
    let mut options = options(1, 5);
    options.evolve = "1000/s".parse().ok();
    let simulator: Simulator = simulator(options).await;
    let before = simulator.world().summary(UID).unwrap().hash;
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while simulator.world().summary(UID).unwrap().hash == before {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a change");
    simulator.shutdown().await;
}

#[tokio::test]
async fn requests_are_counted() {
    let simulator = small().await;
    let length = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap().bytes().await;
    own(&simulator, GETENVS, &[]).await;
    let report = simulator.stats().report();
    assert_eq!((report.requests, report.concurrent_max), (2, 1));
    let basic = &report.methods["getbasicenvsinfo"];
    assert_eq!((basic.requests, basic.bytes_out), (1, length.unwrap().len() as u64));
    assert_eq!(simulator.stats().recent()[0].uid, Some(UID));
    simulator.stats().wait_for("getenvs", 1).await;
    simulator.stats().reset();
    assert_eq!(simulator.stats().report().requests, 0);
}

#[test]
fn a_warm_world_has_its_listings_ready() {
    let world = World::new(&options(2, 3));
    assert!(world.ready_listing(0, Form::Basic).is_none());
    world.warm();
    assert!(world.ready_listing(1, Form::Basic).is_some());
    world.mutate(UID, &Mutation::default()).unwrap();
    assert!(world.ready_listing(0, Form::Basic).is_none());
}
