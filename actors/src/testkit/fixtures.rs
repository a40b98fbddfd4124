//! Valid values in one line each: items whose versions fit their payloads,
//! requests and leases with the service's default durations.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::item::{
    Columns, EnvironmentColumns, EnvironmentElement, Item, JobLogColumns, Malformed, NodeColumns,
    SourceVersion,
};
use crate::domain::{
    Class, DataType, ExternalId, JobId, ReplicaId, RunId, Scope, ScopeKey, TeamId,
};
use crate::ports::replicas::ReplicaInfo;
use crate::ports::store::{Change, ClaimAsk, LeaseAsk, Room, SyncRequest, Upsert, UpsertKind};
use crate::ports::teams::NewTeam;

/// The owner whose environments the fixtures describe.
pub const OWNER_UID: i64 = 7001;
/// Default time to live of a lease.
pub const LEASE_TTL: Duration = Duration::from_mins(3);
/// Default age at which a heartbeat marks its replica dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
/// Default re-dispatch delay.
pub const REDISPATCH: Duration = Duration::from_mins(1);
/// A claim of everything that is due.
pub const CLAIM: ClaimAsk = ClaimAsk { limit: 1000, room: Room::FREE, redispatch: REDISPATCH };

/// sha256 of a payload.
pub fn version_of(payload: &str) -> SourceVersion {
    SourceVersion(Sha256::digest(payload).into())
}

/// The n-th run.
pub fn run_id(n: u64) -> RunId {
    RunId(Uuid::from_u64_pair(0x5255_4e00_0000_4000, 0x8000_0000_0000_0000 | n))
}

/// The n-th replica.
pub fn replica_id(n: u64) -> ReplicaId {
    ReplicaId(Uuid::from_u64_pair(0x5245_5000_0000_4000, 0x8000_0000_0000_0000 | n))
}

/// What the n-th replica says of itself.
pub fn replica(n: u64) -> ReplicaInfo {
    ReplicaInfo {
        id: replica_id(n),
        host: format!("host-{n}"),
        permits: 5,
        version: "0.1.0".to_owned(),
    }
}

/// A team on the one platform of the fixtures.
pub fn team(id: i64) -> NewTeam {
    NewTeam {
        id: TeamId(id),
        name: format!("team {id}"),
        platform_url: "https://app.platform.example".to_owned(),
        cohorts: Vec::new(),
    }
}

/// A team's environments scope.
pub const fn environments_of(team: i64) -> ScopeKey {
    ScopeKey::new(TeamId(team), Scope::Environments)
}

/// An environment with its nodes, as a platform would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// appid
    pub id: String,
    /// envName
    pub name: String,
    /// Platform status number; 1 is running.
    pub status: i32,
    /// Owner's uid.
    pub owner_uid: i64,
    /// Node ids.
    pub nodes: Vec<String>,
}

impl Environment {
    /// The n-th environment, running, with `nodes` nodes.
    pub fn new(n: u32, nodes: u32) -> Self {
        Self {
            id: format!("appid-{n:05}"),
            name: format!("env-{n:05}"),
            status: 1,
            owner_uid: OWNER_UID,
            nodes: (0..nodes).map(|node| format!("{}", n * 1000 + node)).collect(),
        }
    }

    /// The same with another status.
    pub fn with_status(self, status: i32) -> Self {
        Self { status, ..self }
    }

    /// The same under another owner.
    pub fn owned_by(self, owner_uid: i64) -> Self {
        Self { owner_uid, ..self }
    }

    /// Its identifier as the mirror knows it.
    pub fn external_id(&self) -> ExternalId {
        ExternalId::from(self.id.as_str())
    }

    /// Its row.
    pub fn item(&self) -> Item {
        let payload = json!({
            "env": {"appid": self.id, "envName": self.name, "status": self.status, "uid": self.owner_uid},
        });
        let payload = payload.to_string();
        Item {
            id: self.external_id(),
            source_version: version_of(&payload),
            outline_version: Some(version_of(&payload)),
            raw_version: None,
            payload: payload.into(),
            columns: Columns::Environment(Box::new(EnvironmentColumns {
                env_name: self.name.clone(),
                short_domain: Some(self.name.clone()),
                domain: Some(format!("{}.platform.example", self.name)),
                status: self.status,
                owner_uid: self.owner_uid,
                region: Some("default".to_owned()),
                groups: vec!["all".to_owned()],
                ..EnvironmentColumns::default()
            })),
        }
    }

    /// The rows of its nodes.
    pub fn node_items(&self) -> Vec<Item> {
        self.nodes.iter().map(|id| self.node_item(id)).collect()
    }

    fn node_item(&self, id: &str) -> Item {
        let payload = json!({"id": id, "nodeGroup": "cp", "status": self.status}).to_string();
        Item {
            id: ExternalId::from(id),
            source_version: version_of(&payload),
            raw_version: None,
            outline_version: None,
            payload: payload.into(),
            columns: Columns::Node(Box::new(NodeColumns {
                environment: self.external_id(),
                env_name: self.name.clone(),
                name: Some("nginx".to_owned()),
                display_name: None,
                node_group: Some("cp".to_owned()),
                node_type: Some("nginx".to_owned()),
                status: self.status,
                int_ip: Some("10.0.0.1".to_owned()),
                ext_ips: Vec::new(),
                is_master: Some(true),
                fixed_cloudlets: Some(1),
                flexible_cloudlets: Some(8),
                disk_limit_mb: Some(1024),
                version: Some("1.26".to_owned()),
            })),
        }
    }

    /// The element of a listing.
    pub fn element(&self) -> EnvironmentElement {
        EnvironmentElement {
            environment: self.item(),
            nodes: Some(self.node_items()),
            malformed_nodes: Vec::new(),
        }
    }
}

/// The n-th action of the history.
pub fn action_item(n: u32, action: &str) -> Item {
    let payload = json!({"id": n, "action": action}).to_string();
    Item {
        id: ExternalId::from(format!("{n}")),
        source_version: version_of(&payload),
        raw_version: None,
        outline_version: None,
        payload: payload.into(),
        columns: Columns::JobLog(Box::new(JobLogColumns {
            action: action.to_owned(),
            result: Some(0),
            uid: Some(OWNER_UID),
            ..JobLogColumns::default()
        })),
    }
}

/// An element that failed its schema.
pub fn malformed(id: &str) -> Malformed {
    Malformed {
        data_type: DataType::Environments,
        id: Some(ExternalId::from(id)),
        error: "status is not a number".to_owned(),
        raw: "{}".to_owned(),
    }
}

/// A new row, as a first load writes it: without a change row.
pub fn insert(item: Item) -> Upsert {
    Upsert { item, kind: UpsertKind::Insert, change: None }
}

/// A changed row with its change row.
pub fn update(item: Item) -> Upsert {
    changed(item, UpsertKind::Update)
}

/// A row that came back.
pub fn returned(item: Item) -> Upsert {
    changed(item, UpsertKind::Return)
}

fn changed(item: Item, kind: UpsertKind) -> Upsert {
    let patch = r#"[{"op":"replace","path":"/env/status","value":2}]"#.into();
    let undo = r#"[{"op":"replace","path":"/env/status","value":1}]"#.into();
    Upsert { item, kind, change: Some(Change { patch, undo }) }
}

/// Asks for a lease as the n-th run of the first replica.
pub fn lease_ask(key: ScopeKey, job: JobId, run: u64) -> LeaseAsk {
    LeaseAsk {
        key,
        job,
        replica: replica_id(1),
        run: run_id(run),
        ttl: LEASE_TTL,
        dead_after: DEAD_AFTER,
        collision_delay: Duration::from_secs(30),
        max_attempts: 5,
    }
}

/// A person's wish, or a reader's.
pub fn sync_request(key: ScopeKey, class: Class) -> SyncRequest {
    SyncRequest {
        team: key.team,
        scopes: vec![key.scope],
        class,
        mode: None,
        environments: Vec::new(),
        requested_by: "alice".to_owned(),
        trace_parent: None,
        demand_interval: Duration::from_secs(30),
        idempotency: None,
        per_minute: None,
    }
}
