//! A platform that falls ill, and what must be true of the service meanwhile and after.
//!
//! Every kind of trouble goes through the same scenes: an hour passes, the scheduled run meets the
//! trouble, the answers of the API are looked at, the world moves on, the platform is well again,
//! another hour passes. Nobody presses anything: what recovers, recovers by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use vz_sync::simulator::{Door, Fault, FaultRule, SimulatorOptions};

use super::service::{Answer, World};
use super::stream::Frame;

const HOUR: Duration = Duration::from_hours(1);

/// Both ways in which the platform lists environments.
pub const LISTINGS: [&str; 2] = ["getbasicenvsinfo", "getenvs"];

/// What a row says, as the API serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its version, which its payload follows from.
    pub version: String,
    /// Whether it is in doubt.
    pub doubtful: bool,
}

/// What becomes of the run that meets the trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// It fails by this class and code, and the scope is tried again soon.
    Failure(&'static str),
    /// It fails for good: one event, and the scope is tried again later.
    End(&'static str),
    /// It commits the good elements of a listing that proves nothing.
    Doubt(&'static str),
    /// It is not to be blamed: the platform asked for patience.
    Patience,
    /// The key is refused: the team rests.
    Refusal(&'static str),
    /// It fails, and the whole platform is left alone for a while.
    OpenCircuit,
    /// It commits: the listing is sound, but for what the rows are marked with.
    Success,
}

/// A kind of trouble.
pub struct Trouble {
    rules: Vec<FaultRule>,
    door: Door,
    settings: Vec<(&'static str, &'static str)>,
    environments: usize,
}

impl Trouble {
    /// Every listing suffers this.
    pub fn of(fault: &Fault) -> Self {
        Self::by(LISTINGS.map(|method| FaultRule::new(fault.clone()).method(method)))
    }

    /// These rules.
    pub fn by(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
            door: Door::Open,
            settings: Vec::new(),
            environments: 12,
        }
    }

    /// The platform cannot be reached.
    pub fn at(door: Door) -> Self {
        Self { door, ..Self::by([]) }
    }

    /// Another setting of the service.
    pub fn with(mut self, key: &'static str, value: &'static str) -> Self {
        self.settings.push((key, value));
        self
    }

    /// A team of another size.
    pub fn among(mut self, environments: usize) -> Self {
        self.environments = environments;
        self
    }

    /// All scenes.
    pub async fn meets(self, expected: Meets) {
        let scene = self.strikes(expected).await;
        let served = scene.world.served().await;
        assert_eq!(served, scene.before, "good rows stay");
        scene.recovers().await;
    }

    /// The scenes up to the answers.
    pub async fn strikes(self, expected: Meets) -> Scene {
        let options = SimulatorOptions::uniform(1, self.environments, 2);
        let mut settings = vec![
            // Long, so that it is the test that ends it.
            ("VZ_SYNC_PIPELINE__BACKOFF_BASE_SECONDS", "300"),
            ("VZ_SYNC_PIPELINE__BACKOFF_CAP_SECONDS", "300"),
            ("VZ_SYNC_TIMEOUTS__CONNECT_SECONDS", "1"),
            ("VZ_SYNC_TIMEOUTS__FIRST_BYTE_SECONDS", "1"),
            ("VZ_SYNC_TIMEOUTS__BETWEEN_CHUNKS_SECONDS", "1"),
        ];
        settings.extend(self.settings);
        let world = World::with(options, &settings).await;
        world.at_rest().await;
        let before = world.served().await;
        assert_eq!(before.len(), self.environments * 3, "control: there are rows to lose");

        let simulator = world.simulator();
        simulator.faults().set(self.rules);
        simulator.set_door(self.door).await;
        let fence = world.fence("environments").await;
        world.pass(HOUR).await;
        world.ran("environments", fence).await;
        let fired = simulator.faults().report().iter().any(|rule| rule.fired > 0);
        assert!(fired || self.door != Door::Open, "control: the run met it");

        let refused = matches!(expected, Meets::Refusal(_));
        let scene = Scene { world, before, refused };
        scene.says(expected).await;
        scene
    }
}

/// A world in trouble.
pub struct Scene {
    /// The service and its platform.
    pub world: World,
    /// What was served before.
    pub before: BTreeMap<String, Served>,
    /// Whether the team rests for its key.
    refused: bool,
}

impl Scene {
    /// Fails unless the API says what it should, and nothing was removed.
    async fn says(&self, expected: Meets) {
        let world = &self.world;
        let (reason, error) = match expected {
            Meets::Failure(error) | Meets::End(error) | Meets::Doubt(error) => {
                (Some("failing"), Some(error))
            }
            Meets::Refusal(error) => (Some("auth"), Some(error)),
            Meets::Patience => (Some("throttled"), None),
            Meets::OpenCircuit => (Some("circuit_open"), None),
            Meets::Success => (None, None),
        };
        for table in ["environments", "nodes"] {
            world.says(table, reason).await;
            let gone = format!("select count(*) from {table} where stale");
            assert_eq!(world.number(&gone, &[]).await, 0, "no {table} are gone");
        }
        let scope = &world.api("/teams/1/vz-sync").await["scopes"][0];
        // Whose run it was that opened the circuit, this one does not know.
        if expected != Meets::OpenCircuit {
            assert_eq!(scope["last_error"], error.map_or(Value::Null, Value::from), "{scope}");
        }
        let told = "select count(*) from sync_outbox
                    where event_type = 'sync.failed' and ($1 or scope = 'environments')";
        let ends = self.refused || matches!(expected, Meets::End(_));
        // Of a key people are told once, whichever run met it first.
        let told = world.number(told, &[&self.refused]).await;
        assert_eq!(told, i64::from(ends), "people are told of an end");
    }

    /// The platform is well again, and so is the mirror, in the end, though nobody asks.
    pub async fn recovers(self) -> World {
        let world = &self.world;
        let platform = world.simulator().world();
        platform.step(6);
        platform.settle();
        world.simulator().faults().clear();
        world.simulator().set_door(Door::Open).await;
        world.close_circuit().await;
        let from = world.stream(1).frames().len();
        world.pass(HOUR).await;
        if self.refused {
            // The prober would look within a minute; the Owner does not wait for it.
            world.give_key(1).await;
        }
        let whole = |frame: &Frame| {
            let data = frame.data();
            frame.kind == "sync.completed"
                && data["scope"] == "environments"
                && data["verified_at"].is_string()
        };
        world.stream(1).wait_after(from, "a complete run", whole).await;
        world.assert_mirrored(1, "when the platform is well again").await;
        world.says("environments", None).await;
        world.says("nodes", None).await;
        self.world
    }
}

impl World {
    /// Lets hours pass until an open circuit was probed and found well. A replica tries no more
    /// than once a second, by a clock that does not pass with the hours.
    pub async fn close_circuit(&self) {
        let open = "select count(*) from vz_platforms where circuit_state <> 'closed'";
        let closed = async || {
            let closed = self.number(open, &[]).await == 0;
            if !closed {
                self.pass(HOUR).await;
                self.at_rest().await;
            }
            closed
        };
        self.until("the circuit is closed", closed).await;
    }

    /// The Owner stores the account's key, be it the same as before.
    pub async fn give_key(&self, team: i64) {
        let taken = self.offer_key(team).await;
        assert_eq!(taken.status, 200, "{}", taken.json);
    }

    /// The same, and the platform may say what it likes to it.
    pub async fn offer_key(&self, team: i64) -> Answer {
        let token = self.simulator().world().token(self.uid(team)).expect("a token").to_owned();
        let path = format!("/teams/{team}/vz-credentials");
        let body = json!({ "session_key": token });
        self.owner("PUT", &path, Some(&body)).await
    }

    /// Every environment and node that the API serves.
    pub async fn served(&self) -> BTreeMap<String, Served> {
        let mut rows = BTreeMap::new();
        for table in ["environments", "nodes"] {
            let page = self.api(&format!("/teams/1/{table}?limit=500")).await;
            assert!(page["next_cursor"].is_null(), "a team of one page");
            for item in page["items"].as_array().expect("items") {
                let text = |key: &str| item[key].as_str().expect("a text").to_owned();
                let row = Served {
                    version: text("source_version"),
                    doubtful: item["needs_validation"] == true,
                };
                rows.insert(format!("{table} {}", text("id")), row);
            }
        }
        rows
    }

    /// Waits until the answer about a table is stale for this reason, or current without one. It
    /// may be stale for a run that is about to come or under way in between.
    pub async fn says(&self, table: &str, reason: Option<&str>) {
        let expected = reason.map_or(Value::Null, Value::from);
        let what = format!("{table} are stale by {reason:?}");
        let is_so = async || {
            // This page asks for no run, as a read of the rows would.
            let status = self.api("/teams/1/vz-sync").await;
            let block = &status["scopes"][0]["freshness"][table];
            let passing = ["due", "queued", "running"].map(Value::from);
            let found = &block["stale_reason"];
            assert_eq!(block["freshness"] == "stale", !found.is_null(), "{block}");
            assert!(*found == expected || passing.contains(found), "{what}: {status:#}");
            *found == expected
        };
        self.until(&what, is_so).await;
    }
}
