//! The whole service in this process: real database, simulated platform,
//! engine, API and admin listener, wired as `serve` and `demo` wire them.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use vz_sync::boot::{Database, Prepared, Service};
use vz_sync::config::{Config, Loaded, Sources};
use vz_sync::http::auth::{Minter, Role, unix_now};
use vz_sync::secrets::MasterKey;
use vz_sync::simulator::{
    self, AccountSpec, AccountSummary, EnvironmentSummary, NodeSummary, Simulator, SimulatorOptions,
};
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::credentials::OnOtherAccount;
use vz_sync_actors::ports::teams::NewTeam;

use super::postgres::TestDatabase;
use super::stream::{Frame, Stream};

/// The three scopes, by their words.
const SCOPES: [&str; 3] = ["environments", "archived_sites", "job_logs"];

/// An answer of the API.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub json: Value,
}

/// A service with its platform and its database. Team `n` owns account `n`.
pub struct World {
    service: Option<Service>,
    simulator: Simulator,
    database: TestDatabase,
    config: Config,
    http: reqwest::Client,
    sql: tokio_postgres::Client,
    streams: BTreeMap<i64, Stream>,
    teams: i64,
}

impl World {
    /// Alike accounts, each with a team, loaded for the first time.
    pub async fn start(accounts: usize, environments: usize, nodes: usize) -> Self {
        Self::with(SimulatorOptions::uniform(accounts, environments, nodes), &[]).await
    }

    /// The same over any platform, with settings on top of the usual ones.
    pub async fn with(options: SimulatorOptions, settings: &[(&str, &str)]) -> Self {
        let accounts = options.accounts.clone();
        let simulator = simulator::start(options).await.expect("the simulator starts");
        let database = TestDatabase::migrated().await;
        let config = config(&database.url(), settings);
        let prepared = prepare(&config, &database).await;
        add_teams(&prepared, &simulator, &accounts).await;
        let service = Service::start(&config, prepared).await.expect("the service starts");
        let sql = database.client().await;
        let mut world = Self {
            service: Some(service),
            simulator,
            database,
            config,
            http: client(),
            sql,
            streams: BTreeMap::new(),
            teams: accounts.len() as i64,
        };
        world.listen(|_| 0).await;
        for team in 1..=world.teams {
            for scope in SCOPES {
                let first = |frame: &Frame| {
                    frame.kind == "sync.completed" && frame.data()["scope"] == scope
                };
                world.stream(team).wait(&format!("the first load of {scope}"), first).await;
            }
        }
        world
    }

    /// Stops the service as SIGTERM does; database and platform stay.
    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.shutdown().await;
        }
    }

    /// Starts a new service over the same database; streams go on behind the
    /// last event that they saw.
    pub async fn start_again(&mut self) {
        assert!(self.service.is_none(), "stop it first");
        let prepared = prepare(&self.config, &self.database).await;
        let service = Service::start(&self.config, prepared).await.expect("it starts again");
        self.service = Some(service);
        let last: BTreeMap<i64, i64> = self
            .streams
            .iter()
            .map(|(team, stream)| {
                (*team, stream.frames().iter().filter_map(|frame| frame.id).max().unwrap_or(0))
            })
            .collect();
        self.listen(|team| last.get(&team).copied().unwrap_or(0)).await;
    }

    async fn listen(&mut self, after: impl Fn(i64) -> i64) {
        for team in 1..=self.teams {
            let stream = self.subscribe(team, Some(after(team))).await;
            self.streams.insert(team, stream);
        }
    }

    /// A stream of its own.
    pub async fn subscribe(&self, team: i64, last_event_id: Option<i64>) -> Stream {
        let url = self.url(&format!("/teams/{team}/events"));
        let token = self.token(&[(team, Role::Owner)]);
        Stream::open(&self.http, &url, token.expose_secret(), last_event_id).await
    }

    /// What a team was told since the (last) start.
    pub fn stream(&self, team: i64) -> &Stream {
        &self.streams[&team]
    }

    /// The platform.
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// The account of a team.
    pub fn uid(&self, team: i64) -> i64 {
        self.simulator.world().accounts()[team as usize - 1]
    }

    /// A token for these roles.
    pub fn token(&self, teams: &[(i64, Role)]) -> SecretString {
        let minter = Minter::from_config(&self.config.auth).expect("there is a secret");
        minter.mint("tester@example.com", teams, unix_now(), 3600).expect("a token")
    }

    fn url(&self, path: &str) -> String {
        let service = self.service.as_ref().expect("it runs");
        format!("http://{}/api/v1{path}", service.listening.api)
    }

    /// Calls the API with a token, or without.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&SecretString>,
        body: Option<&Value>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.expose_secret());
            request = request.header("authorization", bearer);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.expect("the API answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        Answer { status, json: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    /// Calls the API as the Owner of every team.
    pub async fn owner(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let teams: Vec<_> = (1..=self.teams).map(|team| (team, Role::Owner)).collect();
        self.call(method, path, Some(&self.token(&teams)), body).await
    }

    /// Reads; anything but 200 fails the test.
    pub async fn api(&self, path: &str) -> Value {
        let answer = self.owner("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json);
        answer.json
    }

    /// Ids of all rows of a table as the API lists them, page by page.
    pub async fn listed(&self, team: i64, table: &str, query: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/teams/{team}/{table}?limit=500{query}{cursor}");
            let page = self.api(&path).await;
            let items = page["items"].as_array().expect("items").iter();
            ids.extend(items.map(|item| item["id"].as_str().expect("an id").to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    }

    /// Asks for a run of one scope and answers its job.
    pub async fn trigger(&self, team: i64, scope: &str, mode: &str) -> i64 {
        let body = json!({ "scope": scope, "mode": mode });
        let answer = self.owner("POST", &format!("/teams/{team}/vz-sync"), Some(&body)).await;
        assert_eq!(answer.status, 202, "{}", answer.json);
        answer.json["jobs"][0]["job_id"].as_i64().expect("a job")
    }

    /// Asks for a run and waits for its end. A run that was about to ask the
    /// platform may have done the job's work instead: then its end counts.
    pub async fn sync(&self, team: i64, scope: &str, mode: &str) -> Frame {
        let job = self.trigger(team, scope, mode).await;
        let what = format!("the end of job {job}, a {mode} of {scope}");
        let query = "select state::text, satisfied_by_job_id from vz_sync_jobs where id = $1";
        let wait = async {
            loop {
                let row = &self.sql(query, &[&job]).await[0];
                match row.get::<_, &str>(0) {
                    // Superseded jobs tell nobody: only the row knows.
                    "queued" | "running" => tokio::time::sleep(Duration::from_millis(10)).await,
                    _ => return row.get::<_, Option<i64>>(1).unwrap_or(job),
                }
            }
        };
        let limit = Duration::from_secs(60);
        let job = tokio::time::timeout(limit, wait).await.unwrap_or(job);
        self.stream(team).wait(&what, |frame| frame.ends(job)).await
    }

    /// The same, and it must have committed a complete listing.
    pub async fn synced(&self, team: i64, scope: &str, mode: &str) -> Frame {
        let frame = self.sync(team, scope, mode).await;
        assert_eq!(frame.kind, "sync.completed", "{frame:?}");
        assert!(frame.data()["partial"].is_null(), "{frame:?}");
        frame
    }

    /// The connection to look into the database by.
    pub fn database(&self) -> &tokio_postgres::Client {
        &self.sql
    }

    /// Rows of a query.
    pub async fn sql(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.sql.query(query, values).await.unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }

    /// The one number that a query answers.
    pub async fn number(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> i64 {
        self.sql(query, values).await[0].get(0)
    }

    /// Waits until nobody else is connected to the database, and so until all
    /// statistics of its sessions are told.
    pub async fn alone(&self) {
        let others = "select count(*) from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid()
                        and backend_type = 'client backend'";
        for _ in 0..2000 {
            if self.number(others, &[]).await == 0 {
                return;
            }
            // The server tells no one when a session ends.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("sessions are left although the service has stopped");
    }

    /// The mirror of a team in the platform's own words.
    pub async fn mirror(&self, team: i64) -> Vec<EnvironmentSummary> {
        let mut nodes: BTreeMap<String, Vec<NodeSummary>> = BTreeMap::new();
        let query = "select environment_id, id, status, node_group, flexible_cloudlets, version
                     from nodes where team_id = $1 and not stale";
        for row in self.sql(query, &[&team]).await {
            nodes.entry(row.get(0)).or_default().push(NodeSummary {
                id: row.get::<_, &str>(1).parse().expect("a number"),
                status: row.get::<_, i32>(2) as u16,
                node_group: row.get(3),
                flexible_cloudlets: row.get::<_, i32>(4) as u32,
                version: row.get(5),
            });
        }
        let query = "select id, env_name, display_name, status from environments
                     where team_id = $1 and not stale";
        let rows = self.sql(query, &[&team]).await;
        let items: Vec<_> = rows
            .into_iter()
            .map(|row| EnvironmentSummary {
                nodes: nodes.remove(row.get::<_, &str>(0)).unwrap_or_default(),
                appid: row.get(0),
                name: row.get(1),
                display_name: row.get(2),
                status: row.get::<_, i32>(3) as u16,
            })
            .collect();
        assert!(nodes.is_empty(), "nodes without their environment: {nodes:?}");
        items
    }

    /// Fails unless each job that ended was told of exactly once.
    async fn assert_told_once(&self, when: &str) {
        let query = "select count(*) from vz_sync_jobs j
                     where state in ('succeeded', 'failed', 'dead', 'cancelled')
                       and 1 <> (select count(*) from sync_outbox o where o.job_id = j.id
                                 and event_type in ('sync.completed', 'sync.failed'))";
        assert_eq!(self.number(query, &[]).await, 0, "{when}: jobs untold or told twice");
    }

    /// Fails unless the mirror is what the platform holds, and every end was told.
    pub async fn assert_mirrored(&self, team: i64, when: &str) {
        self.assert_told_once(when).await;
        self.assert_same(team, when).await;
    }

    /// Fails unless the mirror is what the platform holds.
    pub async fn assert_same(&self, team: i64, when: &str) {
        let mirror = self.mirror(team).await;
        let truth = self.simulator.world().summary(self.uid(team)).expect("an account");
        if AccountSummary::hash_of(&mirror) == truth.hash {
            return;
        }
        let by_id = |items: &[EnvironmentSummary]| -> BTreeMap<String, EnvironmentSummary> {
            let sorted = items.iter().cloned().map(|mut item| {
                item.nodes.sort_by_key(|node| node.id);
                (item.appid.clone(), item)
            });
            sorted.collect()
        };
        let (mirror, truth) = (by_id(&mirror), by_id(&truth.items));
        let ids: std::collections::BTreeSet<_> = mirror.keys().chain(truth.keys()).collect();
        let differing: Vec<_> = ids
            .into_iter()
            .map(|id| (mirror.get(id), truth.get(id)))
            .filter(|(mirror, truth)| mirror != truth)
            .collect();
        panic!("{when}: the mirror differs from the platform: {differing:#?}");
    }
}

/// What every test's service runs with: retries at once, no limits in the way.
pub fn environment(database_url: &str) -> BTreeMap<String, String> {
    let key = MasterKey::generate("test").expect("a key");
    let text = |pair: (&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    let mut environment: BTreeMap<String, String> = [
        ("ENABLE_VZ_SYNC_PIPELINE", "true"),
        ("VZ_SYNC_JWT_SECRET", "canary-jwt-secret-of-the-tests-0123456789"),
        ("VZ_SYNC_ADMIN_TOKEN", "canary-admin-token-of-the-tests"),
        ("VZ_SYNC_LISTEN", "127.0.0.1:0"),
        ("VZ_SYNC_ADMIN_LISTEN", "127.0.0.1:0"),
        ("VZ_SYNC_PLATFORM__ALLOW_HTTP_LOOPBACK", "true"),
        ("VZ_SYNC_POLL_SECONDS", "1"),
        ("VZ_SYNC_PIPELINE__BACKOFF_BASE_SECONDS", "1"),
        ("VZ_SYNC_PIPELINE__BACKOFF_CAP_SECONDS", "1"),
        ("VZ_SYNC_LIMITS__PLATFORM_REQUESTS_PER_SECOND", "100000"),
        ("VZ_SYNC_LIMITS__TEAM_REQUESTS_PER_SECOND", "100000"),
        ("VZ_SYNC_LIMITS__TRIGGERS_PER_TEAM_PER_MINUTE", "10000"),
        ("VZ_SYNC_DATABASE__POOL_SIZE", "8"),
    ]
    .map(text)
    .into();
    environment.insert("VZ_SYNC_DATABASE_URL".into(), database_url.into());
    environment.insert("VZ_SYNC_MASTER_KEYS".into(), key.to_entry().expose_secret().into());
    environment
}

fn config(database_url: &str, settings: &[(&str, &str)]) -> Config {
    let mut environment = environment(database_url);
    environment.extend(settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    let sources = Sources { environment, ..Sources::default() };
    Loaded::load(&sources).expect("the settings are sound").config
}

async fn prepare(config: &Config, database: &TestDatabase) -> Prepared {
    let database = Database { config: database.config(), cluster: None };
    Prepared::over(config, &database).await.expect("the adapters are built")
}

async fn add_teams(prepared: &Prepared, simulator: &Simulator, accounts: &[AccountSpec]) {
    let adapters = &prepared.adapters;
    for (index, account) in accounts.iter().enumerate() {
        let id = TeamId(index as i64 + 1);
        let team = NewTeam {
            id,
            name: format!("Team {id}"),
            platform_url: simulator.base_url(),
            cohorts: Vec::new(),
        };
        adapters.teams.put(&team).await.expect("the team is added");
        let key = SecretString::from(account.token.clone());
        let credentials = &adapters.ports.credentials;
        let kept = credentials.replace(id, key, account.uid, OnOtherAccount::Refuse).await;
        kept.expect("the key is kept");
    }
}

/// A client that asks 127.0.0.1 directly, whatever proxy the machine has.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
