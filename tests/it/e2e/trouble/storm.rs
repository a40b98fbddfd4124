//! All kinds of trouble, one after the other, while the world goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use vz_sync::simulator::{Schedule, SimulatorOptions};

use crate::support::service::World;
use crate::support::stream::Frame;

/// Another seed is another storm; a failure is repeated by its own.
const SEED: u64 = 20_261_125;

/// Environments that the mirror calls gone and the platform does not.
async fn wronged(world: &World, team: i64) -> BTreeSet<String> {
    let truth = world.simulator().world().summary(world.uid(team)).expect("an account");
    let truth: BTreeSet<_> = truth.items.into_iter().map(|item| item.appid).collect();
    let gone =
        world.sql("select id from environments where team_id = $1 and stale", &[&team]).await;
    gone.iter().map(|row| row.get::<_, String>(0)).filter(|id| truth.contains(id)).collect()
}

impl World {
    /// Teams whose key is refused.
    async fn resting(&self) -> Vec<i64> {
        let query = "select team_id from team_settings where auth_failed_at is not null";
        self.sql(query, &[]).await.iter().map(|row| row.get(0)).collect()
    }
}

/// Fails if a row is called gone that is there, on a platform that stands still.
async fn assert_nobody_wronged(world: &World) {
    world.at_rest().await;
    for team in [1, 2] {
        assert_eq!(wronged(world, team).await, BTreeSet::new(), "team {team}, seed {SEED}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeded_storm_takes_nothing_and_passes() {
    let mut options = SimulatorOptions::uniform(2, 25, 2);
    options.seed = SEED;
    let settings = [
        ("VZ_SYNC_TIMEOUTS__CONNECT_SECONDS", "1"),
        ("VZ_SYNC_TIMEOUTS__FIRST_BYTE_SECONDS", "1"),
        ("VZ_SYNC_TIMEOUTS__BETWEEN_CHUNKS_SECONDS", "1"),
        ("VZ_SYNC_TIMEOUTS__RUN_SECONDS", "3"),
        ("VZ_SYNC_LIMITS__MAX_BODY_MIB", "1"),
        ("VZ_SYNC_PLATFORM__CIRCUIT_OPEN_SECONDS", "1"),
    ];
    let world = World::with(options, &settings).await;
    world.at_rest().await;
    let schedule = Schedule { seed: SEED, every_ms: 150, lasting_ms: 150, only: Vec::new() };
    world.simulator().follow(Some(schedule)).await.expect("a sound schedule");

    let wanted = Schedule::kinds().count() as u64;
    let mut rounds = 0;
    while world.simulator().spells() < wanted {
        assert_nobody_wronged(&world).await;
        world.simulator().world().step(4);
        world.simulator().world().settle();
        let runs = "select sum(fence)::bigint from vz_sync_states";
        let before = world.number(runs, &[]).await;
        world.pass(Duration::from_mins(61)).await;
        let resting = async || world.resting().await.len() == 2;
        let went_on = async || world.number(runs, &[]).await > before || resting().await;
        world.until("somebody runs, or nobody may", went_on).await;
        for team in world.resting().await {
            // Whatever the platform says to it: the next round tries again.
            world.offer_key(team).await;
        }
        rounds += 1;
    }
    let failed = "select count(*) from vz_sync_jobs where error_code is not null";
    assert!(world.number(failed, &[]).await > 0, "control: it was a storm, in {rounds} rounds");
    world.simulator().follow(None).await.expect("the end of it");
    assert_nobody_wronged(&world).await;

    // Whatever it left behind (a wait, an open circuit, a hold) ends by itself, but for keys.
    world.close_circuit().await;
    let from = [1, 2].map(|team| world.stream(team).frames().len());
    for team in [1, 2] {
        world.give_key(team).await;
    }
    world.pass(Duration::from_hours(2)).await;
    for (team, from) in [1, 2].into_iter().zip(from) {
        let whole = |frame: &Frame| {
            let data = frame.data();
            frame.kind == "sync.completed"
                && data["scope"] == "environments"
                && data["mode"] == "full"
                && data["verified_at"].is_string()
        };
        world.stream(team).wait_after(from, "a complete run", whole).await;
    }
    assert_nobody_wronged(&world).await;
    for team in [1, 2] {
        world.assert_mirrored(team, &format!("after the storm of {SEED}")).await;
    }
}
