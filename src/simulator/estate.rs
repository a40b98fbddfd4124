//! One account's environments and nodes: the model and its seeded generation.
//!
//! Only what can differ is stored; what follows from a node's id (addresses, container id) is
//! derived when it is rendered, so that 30,000 nodes stay cheap.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::actions::Action;
use super::listing::Listing;
use super::options::AccountSpec;

/// Environment and node statuses of the platform that the simulator uses.
pub(crate) mod status {
    pub(crate) const RUNNING: u16 = 1;
    pub(crate) const DOWN: u16 = 2;
    pub(crate) const LAUNCHING: u16 = 3;
    pub(crate) const SLEEP: u16 = 4;
    pub(crate) const STOPPING: u16 = 13;
}

/// A kind of layer: the values that a node takes from the software it runs.
pub(crate) struct Layer {
    pub(crate) group: &'static str,
    pub(crate) node_type: &'static str,
    pub(crate) name: &'static str,
    pub(crate) image: &'static str,
    pub(crate) versions: [&'static str; 3],
    pub(crate) port: u16,
}

/// The layers that an environment can have.
pub(crate) const LAYERS: [Layer; 6] = [
    Layer {
        group: "cp",
        node_type: "tomcat",
        name: "Tomcat",
        image: "jelastic/tomcat",
        versions: ["9.0.54", "10.1.30", "11.0.2"],
        port: 8080,
    },
    Layer {
        group: "sqldb",
        node_type: "postgresql",
        name: "PostgreSQL",
        image: "jelastic/postgresql",
        versions: ["14.5", "15.8", "16.4"],
        port: 5432,
    },
    Layer {
        group: "bl",
        node_type: "nginx-dockerized",
        name: "NGINX Balancer",
        image: "jelastic/nginxbalancer",
        versions: ["1.20.1", "1.22.1", "1.26.2"],
        port: 80,
    },
    Layer {
        group: "cache",
        node_type: "redis-dockerized",
        name: "Redis",
        image: "jelastic/redis",
        versions: ["6.2.6", "7.0.15", "7.2.5"],
        port: 6379,
    },
    Layer {
        group: "storage",
        node_type: "storage",
        name: "Shared Storage",
        image: "jelastic/storage",
        versions: ["2.0-8.5", "2.0-9.1", "2.0-9.4"],
        port: 2049,
    },
    Layer {
        group: "docker",
        node_type: "docker",
        name: "alpine",
        image: "alpine",
        versions: ["3.18", "3.20", "latest"],
        port: 22,
    },
];

const WORDS: [&str; 12] = [
    "shop",
    "blog",
    "crm",
    "staging",
    "intranet",
    "portal",
    "billing",
    "wiki",
    "forum",
    "gateway",
    "analytics",
    "mail",
];

/// Regions as `(uniqueName, displayName)`.
pub(crate) const REGIONS: [(&str, &str); 3] =
    [("new", "VD"), ("geneva-2", "Geneva 2"), ("zurich", "Zurich")];

/// 2025-01-01, so that generated creation dates do not depend on the day of the run.
const FIRST_CREATION: i64 = 1_735_689_600;

#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Raised with each change; tells a rendered listing what to render anew.
    pub(crate) version: u64,
    pub(crate) appid: String,
    pub(crate) name: String,
    pub(crate) display_name: Option<String>,
    pub(crate) status: u16,
    pub(crate) uid: i64,
    pub(crate) creator_uid: i64,
    pub(crate) created_at: i64,
    pub(crate) region: usize,
    pub(crate) high_availability: bool,
    pub(crate) ssl: bool,
    pub(crate) extdomains: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    /// A former owner that may still ask for it by name, which the platform allows a collaborator.
    pub(crate) former_owner: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: i64,
    pub(crate) layer: usize,
    pub(crate) display_name: Option<String>,
    pub(crate) status: u16,
    pub(crate) master: bool,
    pub(crate) fixed_cloudlets: u32,
    pub(crate) flexible_cloudlets: u32,
    pub(crate) version: usize,
    /// Version 4 and 6 mixed; most nodes have none.
    pub(crate) ext_ips: Vec<String>,
}

/// A change under way: its action has no end yet and its environment a transient status.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) ordinal: u64,
    pub(crate) action_id: i64,
    pub(crate) settles_to: u16,
}

/// All that an account owns, in creation order.
pub(crate) struct Estate {
    pub(crate) uid: i64,
    pub(crate) environments: BTreeMap<u64, Environment>,
    /// Ordinals by appid and by name.
    keys: HashMap<String, u64>,
    pub(crate) version: u64,
    next_ordinal: u64,
    next_node: i64,
    base: i64,
    nodes_per_env: usize,
    pub(crate) initial_environments: usize,
    pub(crate) actions: Vec<Action>,
    pub(crate) underway: Vec<Underway>,
    pub(crate) listings: [Listing; 3],
    pub(crate) rng: Xoshiro256PlusPlus,
}

impl Estate {
    /// The same seed, place and spec give the same estate, whenever it is first looked at.
    pub(crate) fn generate(seed: u64, index: usize, spec: &AccountSpec) -> Self {
        // Node ids are unique on the platform and fit the documented int32: each account has a
        // range of its own, wide enough for what evolution adds.
        let stride = (spec.environments * spec.nodes_per_env * 4 + 10_000) as i64;
        let base = 100_000 + index as i64 * stride;
        let mixed = seed ^ (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut estate = Self {
            uid: spec.uid,
            environments: BTreeMap::new(),
            keys: HashMap::with_capacity(spec.environments * 2),
            version: 0,
            next_ordinal: 0,
            next_node: base,
            base,
            nodes_per_env: spec.nodes_per_env,
            initial_environments: spec.environments,
            actions: Vec::new(),
            underway: Vec::new(),
            listings: Default::default(),
            rng: Xoshiro256PlusPlus::seed_from_u64(mixed),
        };
        for _ in 0..spec.environments {
            let created_at = FIRST_CREATION + estate.rng.random_range(0..20_000_000);
            estate.create(created_at);
        }
        estate
    }

    /// Adds a running environment and returns its ordinal.
    pub(crate) fn create(&mut self, created_at: i64) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        let word = WORDS[self.rng.random_range(0..WORDS.len())];
        let name = format!("{word}-{:07}", self.base + ordinal as i64);
        let asleep = self.rng.random_ratio(1, 25);
        let status = match self.rng.random_range(0..10) {
            0 => status::DOWN,
            _ if asleep => status::SLEEP,
            _ => status::RUNNING,
        };
        let display_name = self
            .rng
            .random_ratio(1, 2)
            .then(|| format!("{} {}", word.to_uppercase(), self.rng.random_range(1..1000)));
        let extdomains = match self.rng.random_range(0..6) {
            0 => vec![format!("www.{name}.example.org"), format!("{name}.example.org")],
            1 => vec![format!("{name}.example.com")],
            _ => Vec::new(),
        };
        let groups = match self.rng.random_range(0..4) {
            0 => vec!["production".to_owned()],
            1 => vec!["customers".to_owned(), format!("customers/{word}")],
            _ => Vec::new(),
        };
        let nodes = self.nodes(status);
        let environment = Environment {
            version: 0,
            appid: format!("{:032x}", self.rng.random::<u128>()),
            name,
            display_name,
            status,
            uid: self.uid,
            creator_uid: self.uid,
            created_at,
            region: self.rng.random_range(0..REGIONS.len()),
            high_availability: self.rng.random_ratio(1, 10),
            ssl: self.rng.random_ratio(1, 2),
            extdomains,
            groups,
            nodes,
            former_owner: None,
        };
        self.insert(ordinal, environment);
        ordinal
    }

    /// Takes in an environment that came from another account.
    pub(crate) fn adopt(&mut self, environment: Environment) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.insert(ordinal, environment);
    }

    fn insert(&mut self, ordinal: u64, environment: Environment) {
        self.keys.insert(environment.appid.clone(), ordinal);
        self.keys.insert(environment.name.clone(), ordinal);
        self.environments.insert(ordinal, environment);
        self.touch(ordinal);
    }

    /// The nodes of a new environment: a cluster of one layer, and in every third environment a
    /// last node of another one.
    fn nodes(&mut self, status: u16) -> Vec<Node> {
        let layer = self.rng.random_range(0..LAYERS.len());
        let mixed = self.nodes_per_env > 1 && self.rng.random_ratio(1, 3);
        let mut nodes = Vec::with_capacity(self.nodes_per_env);
        for place in 0..self.nodes_per_env {
            let other = mixed && place + 1 == self.nodes_per_env;
            let master = place == 0 || other;
            nodes.push(self.node(layer + usize::from(other), master, status));
        }
        nodes
    }

    /// A new node; any number names a layer.
    pub(crate) fn node(&mut self, layer: usize, master: bool, status: u16) -> Node {
        let id = self.next_node;
        self.next_node += 1;
        let ext_ips = if self.rng.random_ratio(1, 12) {
            let [_, high, mid, low] = (id as u32).to_be_bytes();
            vec![
                format!("203.0.{}.{low}", 113 + high % 2),
                format!("2001:db8::{high:x}{mid:02x}:{low:x}"),
            ]
        } else {
            Vec::new()
        };
        Node {
            id,
            layer: layer % LAYERS.len(),
            display_name: self.rng.random_ratio(1, 5).then(|| format!("Node {}", id % 100)),
            status,
            master,
            fixed_cloudlets: self.rng.random_range(0..4),
            flexible_cloudlets: self.rng.random_range(4..33),
            version: self.rng.random_range(0..3),
            ext_ips,
        }
    }

    /// Takes an environment out, as a deletion or a transfer does.
    pub(crate) fn remove(&mut self, ordinal: u64) -> Option<Environment> {
        let environment = self.environments.remove(&ordinal)?;
        self.keys.remove(&environment.appid);
        self.keys.remove(&environment.name);
        self.underway.retain(|underway| underway.ordinal != ordinal);
        self.version += 1;
        Some(environment)
    }

    /// Marks an environment as changed, so that listings render it anew.
    pub(crate) fn touch(&mut self, ordinal: u64) {
        self.version += 1;
        if let Some(environment) = self.environments.get_mut(&ordinal) {
            environment.version = self.version;
        }
    }

    /// Finds by appid, by name or by full domain, as the platform's aliases do.
    pub(crate) fn find(&self, key: &str) -> Option<u64> {
        let by_name = || key.split_once('.').and_then(|(name, _)| self.keys.get(name));
        self.keys.get(key).or_else(by_name).copied()
    }

    /// A seeded choice among the environments.
    pub(crate) fn any(&mut self) -> Option<u64> {
        if self.environments.is_empty() {
            return None;
        }
        let place = self.rng.random_range(0..self.environments.len());
        self.environments.keys().nth(place).copied()
    }
}
