//! Secrets are nowhere in the clear: planted, and then looked for everywhere.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use vz_sync::boot::{Database, Prepared};
use vz_sync::config::{Loaded, Sources};
use vz_sync::http::auth::{Minter, Role, unix_now};
use vz_sync::simulator::{self, AccountSpec, Mutation, SimulatorOptions, TokenState};
use vz_sync_actors::ports::credentials::Resolved;

use crate::support::binary::{Binary, Scratch};
use crate::support::postgres::TestDatabase;
use crate::support::service::{client, environment};
use crate::support::stream::Stream;

const KEY: &str = "canary-session-key-4f1d8b";
const WRONG: &str = "canary-of-a-wrong-key-77aa";

/// A canary in all the forms in which it would be one.
fn forms(canary: &str) -> Vec<String> {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in canary.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    vec![canary.to_owned(), hex]
}

/// Every row of every table, as text.
async fn all_rows(client: &tokio_postgres::Client) -> String {
    let tables = "select quote_ident(relname) from pg_class c
                  join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = 'public' and relkind in ('r', 'p')";
    let mut text = String::new();
    for table in client.query(tables, &[]).await.expect("tables") {
        let table: String = table.get(0);
        let query = format!("select coalesce(string_agg(t::text, E'\\n'), '') from {table} t");
        text += &client.query_one(&query, &[]).await.expect("rows").get::<_, String>(0);
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_canaries_show_up_nowhere() {
    let account = AccountSpec { token: KEY.into(), ..AccountSpec::numbered(1, 10, 3) };
    let uid = account.uid;
    // Wide: data layers then carry passwords; details carry docker's env.
    let options =
        SimulatorOptions { accounts: vec![account], wide: true, ..SimulatorOptions::default() };
    let platform = simulator::start(options).await.expect("the simulator starts");
    let database = TestDatabase::migrated().await;
    let mut environment = environment(&database.url());
    environment.insert("VZ_SYNC_LOG__FILTER".into(), "trace".into());
    let dir = Scratch::new();
    let log = dir.path().join("log");

    let url = platform.base_url();
    let add = ["teams", "add", "1", "--name", "Canaries", "--platform-url", &url];
    let (status, said) = Binary::run(&add, &environment, &log, "").await;
    assert!(status.success(), "{said}");
    let (status, mut said) =
        Binary::run(&["credentials", "set", "1"], &environment, &log, KEY).await;
    assert!(status.success(), "{said}");

    let binary = Binary::start(&["serve"], &environment, &log, "API on http://").await;
    let address = |word: &str| {
        let said = binary.said();
        let from = said.find(word).expect(word) + word.len();
        said[from..].split([',', '\n']).next().expect("an address").trim().to_owned()
    };
    let (api, admin) = (address("API on "), address("operators on "));
    let sources = Sources { environment: environment.clone(), ..Sources::default() };
    let config = Loaded::load(&sources).expect("sound").config;
    let minter = Minter::from_config(&config.auth).expect("a secret");
    let token = minter.mint("owner", &[(1, Role::Owner)], unix_now(), 600).expect("a token");
    let token = token.expose_secret();
    let http = client();
    let events = Stream::open(&http, &format!("{api}/api/v1/teams/1/events"), token, Some(0)).await;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let mut request = http
            .request(method.parse().expect("a method"), format!("{api}/api/v1/teams/1{path}"))
            .header("authorization", format!("Bearer {token}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().await.expect("it answers").text().await.expect("a body")
    };
    let sync = async |mode: &str| {
        let body = json!({ "scope": "environments", "mode": mode });
        let answer = call("POST", "/vz-sync", Some(body)).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let job = answer["jobs"][0]["job_id"].as_i64().unwrap_or_else(|| panic!("{answer}"));
        events.wait(mode, |frame| frame.ends(job)).await
    };

    let done = sync("full").await;
    assert_eq!(done.kind, "sync.completed", "{done:?}");
    platform
        .world()
        .mutate(uid, &Mutation { count: Some(10), ..Mutation::default() })
        .expect("all");
    let details = platform.stats().requests("getenvinfo");
    assert_eq!(sync("delta").await.kind, "sync.completed");
    assert!(platform.stats().requests("getenvinfo") > details, "control: docker's env came");
    said += &call("PUT", "/vz-credentials", Some(json!({ "session_key": WRONG }))).await;
    for path in ["/environments?include=payload,nodes", "/nodes?include=payload", "/changes"] {
        let answer = call("GET", path, None).await;
        assert!(answer.contains("\"items\""), "control: {path}: {answer}");
        said += &answer;
    }
    platform.world().set_token_state(uid, &TokenState::Expired).expect("an account");
    let failed = sync("full").await;
    assert_eq!(failed.kind, "sync.failed", "{failed:?}");

    let admin_token = &environment["VZ_SYNC_ADMIN_TOKEN"];
    for path in ["/metrics", "/admin/actors"] {
        let request = http
            .get(format!("{admin}{path}"))
            .header("authorization", format!("Bearer {admin_token}"));
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status(), 200, "{path}");
        said += &response.text().await.expect("a body");
    }
    for frame in events.frames() {
        said += &frame.json.to_string();
    }
    said += &binary.said();
    let logged = binary.logged();
    assert!(logged.contains(r#""level":"trace""#), "control: all is logged");
    let rows = all_rows(&database.client().await).await;
    assert!(rows.contains("Canaries"), "control: the tables were read");

    let mut canaries = vec![KEY.to_owned(), WRONG.to_owned(), token.to_owned()];
    for name in ["VZ_SYNC_JWT_SECRET", "VZ_SYNC_ADMIN_TOKEN", "VZ_SYNC_MASTER_KEYS"] {
        canaries.push(environment[name].clone());
    }
    let key = &environment["VZ_SYNC_MASTER_KEYS"];
    canaries.push(key.split_once(':').expect("id:key").1.to_owned());
    for item in platform.world().summary(uid).expect("an account").items {
        for node in item.nodes {
            canaries.push(format!("pw-{:08x}", node.id * 2_654_435));
            canaries.push(format!("DB_PASSWORD=secret-{}", node.id));
            canaries.push(format!("secret-{}", node.id));
        }
    }
    for canary in &canaries {
        for form in forms(canary) {
            let places = [("log", &logged), ("database", &rows), ("answers", &said)];
            for (place, text) in places {
                if let Some(at) = text.find(&form) {
                    let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
                    let line: String = text[from..].lines().next().unwrap_or_default().into();
                    panic!("{canary} is in the {place}: {line}");
                }
            }
        }
    }

    // Control: the key is there, only sealed.
    let opened = open_key(&config, &database).await;
    assert_eq!(opened.expose_secret(), KEY);
    platform.shutdown().await;
}

/// The stored key, as the engine reads it.
async fn open_key(config: &vz_sync::config::Config, database: &TestDatabase) -> SecretString {
    let database = Database { connector: database.config().into(), cluster: None };
    let prepared = Prepared::over(config, &database).await.expect("the adapters are built");
    let team = vz_sync_actors::domain::TeamId(1);
    match prepared.adapters.ports.credentials.resolve(team).await.expect("the database answers") {
        Resolved::Access(access) => access.session,
        other => panic!("{other:?}"),
    }
}
