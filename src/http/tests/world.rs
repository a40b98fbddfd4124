//! One service in a test: engine, routers, tokens and a platform that the
//! test may change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;
use vz_sync_actors::domain::item::{
    Columns, Element, EnvironmentColumns, EnvironmentElement, Item, NodeColumns,
};
use vz_sync_actors::domain::{
    Baseline, Completeness, Counts, Failure, FailureClass, ReplicaId, SourceVersion, TeamId,
};
use vz_sync_actors::embedded::limiter::Rates;
use vz_sync_actors::embedded::{
    EmbeddedClock, EmbeddedDueQueue, EmbeddedEventBus, EmbeddedJobBus, EmbeddedLimiter,
    EmbeddedLock, EmbeddedSignals, MemoryStore, SeededEntropy, StoreDefaults,
};
use vz_sync_actors::engine::Engine;
use vz_sync_actors::parts::Ports;
use vz_sync_actors::ports::clock::Clock;
use vz_sync_actors::ports::credentials::{Access, Credentials, OnOtherAccount};
use vz_sync_actors::ports::platform::{
    Account, ActionPage, ActionQuery, ActionTarget, ElementSink, Listing, Lookup, Outline,
    Outlines, Platform, PlatformResult,
};
use vz_sync_actors::ports::teams::{NewTeam, Rollout, Teams};
use vz_sync_actors::settings::Settings;

use crate::config::{Config, Loaded, Sources};
use crate::http::admin::{self, AdminState};
use crate::http::auth::{AdminToken, Minter, Role, Verifier, unix_now};
use crate::http::metrics::MeteredStore;
use crate::http::{ApiPorts, ApiSettings, ApiState, Metrics, router};

/// The account behind every good key.
pub const OWNER_UID: i64 = 7001;
/// The admin listener's token.
pub const ADMIN: &str = "an-admin-token-of-some-length";

/// A platform whose environments a test sets.
#[derive(Default)]
pub struct Platforms {
    /// envName and status of each environment; each has one node.
    pub environments: Mutex<Vec<(String, i32)>>,
    /// How long a listing takes.
    pub latency: Mutex<Duration>,
}

fn version(payload: &str) -> SourceVersion {
    SourceVersion(Sha256::digest(payload).into())
}

fn payload(name: &str, status: i32) -> Value {
    json!({"env": {"appid": format!("appid-{name}"), "envName": name, "status": status}})
}

fn item(id: &str, payload: &Value, columns: Columns) -> Item {
    let payload = payload.to_string();
    let source_version = version(&payload);
    // A lazy listing of this platform shows all there is of an environment.
    let outline_version = matches!(columns, Columns::Environment(_)).then_some(source_version);
    let id = id.into();
    Item {
        id,
        source_version,
        raw_version: None,
        outline_version,
        payload: payload.into(),
        columns,
    }
}

fn element(name: &str, status: i32) -> Element {
    let id = format!("appid-{name}");
    let environment = EnvironmentColumns {
        env_name: name.into(),
        status,
        owner_uid: OWNER_UID,
        region: Some("default".into()),
        ..EnvironmentColumns::default()
    };
    let node = NodeColumns {
        environment: id.as_str().into(),
        env_name: name.into(),
        name: None,
        display_name: None,
        node_group: Some("cp".into()),
        node_type: None,
        status,
        int_ip: None,
        ext_ips: Vec::new(),
        is_master: None,
        fixed_cloudlets: None,
        flexible_cloudlets: None,
        disk_limit_mb: None,
        version: None,
    };
    let payload = payload(name, status);
    Element::Environment(Box::new(EnvironmentElement {
        environment: item(&id, &payload, Columns::Environment(Box::new(environment))),
        nodes: Some(vec![item(
            &format!("node-{name}"),
            &json!({"status": status}),
            Columns::Node(Box::new(node)),
        )]),
        malformed_nodes: Vec::new(),
    }))
}

#[async_trait]
impl Platform for Platforms {
    async fn account(&self, access: &Access) -> PlatformResult<Account> {
        match access.session.expose_secret() {
            "good-key" => Ok(Account { uid: OWNER_UID, enabled: true }),
            "other-account" => Ok(Account { uid: 1, enabled: true }),
            _ => Err(Failure::new(FailureClass::Auth, "result_702", "the key was refused")),
        }
    }

    async fn environments(
        &self,
        _: &Access,
        _: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        let sent_at = tokio::time::Instant::now();
        let latency = *self.latency.lock().unwrap();
        tokio::time::sleep(latency).await;
        let environments = self.environments.lock().unwrap().clone();
        let listed = environments.len() as u64;
        let elements = environments.iter().map(|(name, status)| element(name, *status)).collect();
        sink.accept(elements).await?;
        let counts = Counts { listed, ..Counts::default() };
        Ok(Listing { completeness: Completeness::Complete, sent_at, counts, body: None })
    }

    async fn outlines(&self, _: &Access) -> PlatformResult<Outlines> {
        let sent_at = tokio::time::Instant::now();
        let environments = self.environments.lock().unwrap().clone();
        let outlines = environments.into_iter().map(|(name, status)| Outline {
            id: format!("appid-{name}").into(),
            version: version(&payload(&name, status).to_string()),
            env_name: name,
            status,
        });
        let outlines = outlines.collect();
        Ok(Outlines { completeness: Completeness::Complete, sent_at, outlines, shared: 0 })
    }

    async fn environment(&self, _: &Access, env_name: &str) -> PlatformResult<Lookup> {
        let sent_at = tokio::time::Instant::now();
        let environments = self.environments.lock().unwrap();
        let found = environments.iter().find(|(name, _)| name == env_name);
        Ok(found.map_or(Lookup::Gone, |(name, status)| Lookup::Found {
            element: element(name, *status),
            sent_at,
        }))
    }

    async fn actions(&self, _: &Access, _: &ActionQuery) -> PlatformResult<ActionPage> {
        Ok(ActionPage {
            items: Vec::new(),
            total: 0,
            completeness: Completeness::Complete,
            sent_at: tokio::time::Instant::now(),
            clock: None,
            malformed: Vec::new(),
        })
    }

    async fn current_actions(&self, _: &Access) -> PlatformResult<Vec<ActionTarget>> {
        Ok(Vec::new())
    }
}

/// One service. Team 1 has a key and three environments; team 2 is somebody
/// else's and has none.
pub struct World {
    pub api: ApiState,
    pub engine: Engine,
    pub store: Arc<MemoryStore>,
    pub platform: Arc<Platforms>,
    pub router: Router,
    pub document: Value,
    pub admin: Router,
    pub config: Config,
    minter: Minter,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

pub fn config() -> Config {
    let secret = "a-secret-of-at-least-thirty-two-bytes";
    let environment = [("VZ_SYNC_JWT_SECRET".to_owned(), secret.to_owned())].into();
    Loaded::load(&Sources { environment, ..Sources::default() }).unwrap().config
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub async fn start_with(config: Config) -> Self {
        let clock = Arc::new(EmbeddedClock::starting_at(
            time::OffsetDateTime::from_unix_timestamp(unix_now() as i64).unwrap(),
        ));
        let entropy = Arc::new(SeededEntropy::new(7));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let defaults = StoreDefaults::default();
        let store = Arc::new(MemoryStore::new(as_clock, entropy.clone(), defaults));
        let platform = Arc::new(Platforms::default());
        *platform.environments.lock().unwrap() =
            ["alpha", "beta", "gamma"].map(|name| (name.to_owned(), 1)).to_vec();
        let metrics = Metrics::new().unwrap();
        let metered = Arc::new(MeteredStore::new(store.clone(), metrics.clone()));
        let (due_queue, lock) = (Arc::new(EmbeddedDueQueue::new()), Arc::new(EmbeddedLock::new()));
        let job_bus = Arc::new(EmbeddedJobBus::new());
        let rates = Rates { platform: None, team: None, ..Rates::default() };
        let ports = Ports {
            store: metered.clone(),
            due_queue: due_queue.clone(),
            lock: lock.clone(),
            job_bus: job_bus.clone(),
            event_bus: Arc::new(EmbeddedEventBus::new()),
            signals: Arc::new(EmbeddedSignals::new()),
            outbox: store.clone(),
            replicas: store.clone(),
            platforms: store.clone(),
            limiter: Arc::new(EmbeddedLimiter::new(rates, 1)),
            platform: platform.clone(),
            credentials: store.clone(),
            upkeep: store.clone(),
            clock,
            entropy,
        };
        store
            .set_rollout(&Rollout { enabled: true, everyone: true, ..Rollout::default() })
            .await
            .unwrap();
        for id in [1, 2] {
            let team = NewTeam {
                id: TeamId(id),
                name: format!("team {id}"),
                platform_url: "https://app.platform.example".into(),
                cohorts: Vec::new(),
            };
            store.put(&team).await.unwrap();
        }
        store
            .replace(TeamId(1), "good-key".to_owned().into(), OWNER_UID, OnOtherAccount::Refuse)
            .await
            .unwrap();
        let engine =
            Engine::start(ports, Settings::new(ReplicaId(Uuid::from_u128(1)))).await.unwrap();
        let api_ports = ApiPorts {
            reads: store.clone(),
            store: metered,
            teams: store.clone(),
            credentials: store.clone(),
            platform: platform.clone(),
            due_queue,
            job_bus,
            lock,
            replicas: store.clone(),
        };
        let api = ApiState::new(
            Arc::new(engine.handle()),
            api_ports,
            Verifier::from_config(&config.auth),
            metrics,
            ApiSettings::from_config(&config),
            CancellationToken::new(),
        );
        let (router, document) = router::public(&api, Router::new()).unwrap();
        let admin = AdminState {
            api: api.clone(),
            token: Some(AdminToken::new(&ADMIN.to_owned().into())),
            heartbeat: Arc::new(|| Box::pin(std::future::ready(true))),
        };
        let admin = admin::router(&admin, Router::new());
        let document = serde_json::to_value(&document).unwrap();
        let minter = Minter::from_config(&config.auth).unwrap();
        Self { api, engine, store, platform, router, document, admin, config, minter }
    }

    /// As [`World::start`], after the first run of the environments.
    pub async fn mirrored() -> Self {
        let world = Self::start().await;
        world.synced(1).await;
        world
    }

    /// Waits until the environments have been verified `runs` times or more
    /// often, by the events that tell of it.
    pub async fn synced(&self, runs: usize) {
        loop {
            let path = "/api/v1/teams/1/vz-sync/jobs?scope=environments";
            let answer = self.get(path).await;
            let jobs = answer.json["items"].as_array().unwrap();
            if jobs.iter().filter(|job| job["state"] == "succeeded").count() >= runs {
                return;
            }
            // The clock is paused: this only lets the engine work.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn token(&self, teams: &[(i64, Role)]) -> String {
        self.minted(teams, unix_now(), 3600)
    }

    pub fn minted(&self, teams: &[(i64, Role)], from: u64, ttl: u64) -> String {
        let token = self.minter.mint("ann", teams, from, ttl).unwrap();
        format!("Bearer {}", token.expose_secret())
    }

    pub fn owner(&self) -> String {
        self.token(&[(1, Role::Owner)])
    }

    /// A GET as the Owner of team 1.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &self.owner())], "").await
    }

    /// A POST of JSON as the Owner of team 1.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let headers = [("authorization", &*self.owner()), ("content-type", "application/json")];
        self.send("POST", path, &headers, body).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        read(self.router.clone(), request(method, path, headers, body)).await
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

pub async fn read(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let endless = parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v == "text/event-stream");
    let bytes =
        if endless { Vec::new() } else { body.collect().await.unwrap().to_bytes().to_vec() };
    let json = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { status: parts.status, headers: parts.headers, json }
}
