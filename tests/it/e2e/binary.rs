//! `vz-sync demo` as people start it, stop it and lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::binary::{Binary, Scratch, gone, server_pid};
use crate::support::postgres::TestDatabase;
use crate::support::service::{client, environment};
use crate::support::stream::Stream;

/// A demo and what it wrote for its visitors.
struct Demo {
    binary: Binary,
    welcome: Value,
    http: reqwest::Client,
}

/// The arguments of a demo on ports of its own.
fn arguments(dir: &Scratch) -> Vec<&str> {
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let any = "127.0.0.1:0";
    let mut arguments = vec!["demo", "--data-dir", data_dir];
    for flag in ["--listen", "--admin-listen", "--simulator-listen"] {
        arguments.extend([flag, any]);
    }
    arguments
}

impl Demo {
    async fn start(dir: &Scratch) -> Self {
        Self::start_with(dir, &BTreeMap::new()).await
    }

    async fn start_with(dir: &Scratch, environment: &BTreeMap<String, String>) -> Self {
        let log = dir.path().join("log");
        let ready = "Ctrl-C stops it";
        let binary = Binary::start(&arguments(dir), environment, &log, ready).await;
        let text = std::fs::read(dir.path().join("demo.json")).expect("demo.json");
        let welcome = serde_json::from_slice(&text).expect("it is JSON");
        Self { binary, welcome, http: client() }
    }

    fn text(&self, pointer: &str) -> &str {
        self.welcome.pointer(pointer).and_then(Value::as_str).expect(pointer)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.text("/url"))
    }

    async fn get(&self, path: &str) -> Value {
        let bearer = format!("Bearer {}", self.text("/tokens/developer"));
        let request = self.http.get(self.url(path)).header("authorization", bearer);
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_str(&response.text().await.expect("a body")).expect("JSON")
    }

    async fn events(&self) -> Stream {
        let token = self.text("/tokens/owner");
        Stream::open(&self.http, &self.url("/teams/1/events"), token, Some(0)).await
    }

    /// A trigger over HTTP and its end over SSE.
    async fn sync(&self, events: &Stream) {
        let request = self
            .http
            .post(self.url("/teams/1/vz-sync"))
            .header("authorization", format!("Bearer {}", self.text("/tokens/owner")))
            .header("content-type", "application/json")
            .body(json!({ "scope": "environments", "mode": "full" }).to_string());
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status(), 202);
        let answer: Value =
            serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
        let job = answer["jobs"][0]["job_id"].as_i64().expect("a job");
        // The first load may be about to ask the platform: it does the job's
        // work then, and its end is the one that is told.
        let path = format!("/teams/1/vz-sync/jobs/{job}");
        let wait = async {
            loop {
                let row = self.get(&path).await;
                match row["state"].as_str() {
                    Some("queued" | "running") => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    _ => return row["satisfied_by_job_id"].as_i64().unwrap_or(job),
                }
            }
        };
        let job = timeout(Duration::from_secs(60), wait).await.expect("the job ends");
        let end = events.wait("the end of the job", |frame| frame.ends(job)).await;
        assert_eq!(end.kind, "sync.completed", "{end:?}");
    }

    /// Id and time of discovery of all that team 1 ever had.
    async fn mirror(&self) -> BTreeSet<(String, String)> {
        let page = self.get("/teams/1/environments?limit=500&include_stale=true").await;
        let items = page["items"].as_array().expect("items").iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        items.map(|item| (text(&item["id"]), text(&item["first_seen_at"]))).collect()
    }
}

/// Kills the private database of a running binary.
fn kill_server(data_dir: &std::path::Path) {
    let server = server_pid(data_dir).expect("a server of its own");
    kill(Pid::from_raw(server.cast_signed()), Signal::SIGKILL).expect("it is killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_that_dies_ends_serve_and_demo_with_a_code_of_its_own() {
    let dir = Scratch::new();
    let demo = Demo::start(&dir).await;
    kill_server(dir.path());
    let log = dir.path().join("log");
    let status = demo.binary.ended(Duration::from_secs(30)).await;
    let logged = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(status.code(), Some(4), "{logged}");
    assert!(logged.contains("the private database ended by itself"), "{logged}");

    let dir = Scratch::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let mut environment = environment("");
    environment.remove("VZ_SYNC_DATABASE_URL");
    let args = ["serve", "--data-dir", data_dir];
    let log = dir.path().join("log");
    let serve = Binary::start(&args, &environment, &log, "API on").await;
    kill_server(dir.path());
    let status = serve.ended(Duration::from_secs(30)).await;
    let logged = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(status.code(), Some(4), "{logged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_demo_is_not_thrown_away_while_it_runs() {
    let dir = Scratch::new();
    let demo = Demo::start(&dir).await;
    let before = demo.mirror().await;
    let log = dir.path().join("second.log");
    for extra in ["--fresh", "--json"] {
        let mut arguments = arguments(&dir);
        arguments.push(extra);
        let (status, _) = Binary::run(&arguments, &BTreeMap::new(), &log, "").await;
        let said = std::fs::read_to_string(&log).expect("it said why");
        assert_eq!(status.code(), Some(1), "{extra}: {said}");
        assert!(said.contains("a demo runs in"), "{said}");
    }
    assert!(dir.path().join("demo.json").exists());
    assert!(demo.mirror().await.is_superset(&before), "it is as it was");
    let first = demo.text("/tokens/admin").to_owned();
    demo.binary.end(Signal::SIGTERM, Duration::from_secs(10)).await;

    let mut arguments = arguments(&dir);
    arguments.push("--fresh");
    let log = dir.path().with_extension("log");
    let fresh = Binary::start(&arguments, &BTreeMap::new(), &log, "Ctrl-C stops it").await;
    assert!(!fresh.said().contains(&first), "control: now it is another one");
    fresh.end(Signal::SIGTERM, Duration::from_secs(10)).await;
    std::fs::remove_file(&log).expect("its log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_leaves_the_installation_of_others_alone() {
    let theirs = TestDatabase::migrated().await;
    let sql = theirs.client().await;
    let add = "insert into vz_platforms (base_url) values ('https://app.hoster.example');
               insert into teams (id, name, platform_id) select 1, 'Paying customers', id from vz_platforms";
    sql.batch_execute(add).await.expect("a team");
    let dir = Scratch::new();
    let log = dir.path().join("log");
    let of = |database: &TestDatabase| {
        BTreeMap::from([("VZ_SYNC_DATABASE_URL".to_owned(), database.url())])
    };
    let (status, _) = Binary::run(&arguments(&dir), &of(&theirs), &log, "").await;
    let said = std::fs::read_to_string(&log).expect("it said why");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("teams that this demo did not make"), "{said}");
    let name: String = sql.query_one("select name from teams", &[]).await.expect("one").get(0);
    assert_eq!(name, "Paying customers");

    // An empty one is taken, and known again; its switch is on whatever it was.
    let empty = TestDatabase::migrated().await;
    for _ in 0..2 {
        let demo = Demo::start_with(&dir, &of(&empty)).await;
        let events = demo.events().await;
        demo.sync(&events).await;
        demo.binary.end(Signal::SIGTERM, Duration::from_secs(10)).await;
        let off = "update rollout set enabled = false";
        empty.client().await.batch_execute(off).await.expect("switched off");
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_demo_keeps_its_mirror_over_stop_and_kill() {
    let dir = Scratch::new();
    let demo = Demo::start(&dir).await;
    assert_eq!(
        keys(&demo.welcome),
        ["url", "admin_url", "simulator_url", "platform_token", "tokens", "teams"].into()
    );
    assert_eq!(keys(&demo.welcome["tokens"]), ["owner", "manager", "developer", "admin"].into());
    assert_eq!(demo.welcome["teams"], json!([1, 2]));
    for file in ["demo.json", "secrets.json"] {
        let mode = std::fs::metadata(dir.path().join(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file} is for its owner alone");
    }
    let said = demo.binary.said();
    for told in [
        "/url",
        "/admin_url",
        "/simulator_url",
        "/tokens/owner",
        "/tokens/manager",
        "/tokens/developer",
        "/tokens/admin",
        "/platform_token",
    ] {
        assert!(said.contains(demo.text(told)), "people are told {told}, too: {said}");
    }
    let metrics = demo.http.get(format!("{}/metrics", demo.text("/admin_url")));
    let metrics = metrics.send().await.expect("it answers").text().await.expect("a body");
    assert!(metrics.contains("\nvz_sync_log_dropped_fields_total 0\n"), "{metrics}");
    let words = said.lines().filter(|line| line.contains(' '));
    assert!(words.clone().all(|line| line.chars().count() <= 100), "{said}");
    assert!(words.count() > 10, "control");

    let events = demo.events().await;
    demo.sync(&events).await;
    let before = demo.mirror().await;
    assert!(before.len() >= 12, "{before:?}");

    // In order: SIGTERM.
    let server = server_pid(dir.path()).expect("a server of its own");
    let log = dir.path().join("log");
    let status = demo.binary.end(Signal::SIGTERM, Duration::from_secs(10)).await;
    let logged = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{logged}");
    assert!(!dir.path().join("demo.json").exists(), "it promised a demo that is gone");
    assert!(gone(server, Duration::from_secs(2)).await, "the server has stopped with it");
    assert!(server_pid(dir.path()).is_none(), "and in order");

    // Again, and out of order: SIGKILL.
    let demo = Demo::start(&dir).await;
    let kept = demo.mirror().await;
    assert!(kept.is_superset(&before), "{before:?} is not in {kept:?}");
    let events = demo.events().await;
    demo.sync(&events).await;
    let before = demo.mirror().await;
    let server = server_pid(dir.path()).expect("a server of its own");
    let status = demo.binary.end(Signal::SIGKILL, Duration::from_secs(10)).await;
    assert_eq!(status.code(), None, "control: it was killed");
    assert!(gone(server, Duration::from_secs(10)).await, "its server dies with it");
    assert!(dir.path().join("demo.json").exists(), "control: nobody could remove it");

    // A start that fails does not leave the dead one's either.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let mut arguments = arguments(&dir);
    *arguments.last_mut().expect("the simulator's") = &taken;
    let (status, _) = Binary::run(&arguments, &BTreeMap::new(), &log, "").await;
    assert_eq!(status.code(), Some(1));
    assert!(!dir.path().join("demo.json").exists());

    // The next start recovers.
    let demo = Demo::start(&dir).await;
    let kept = demo.mirror().await;
    assert!(kept.is_superset(&before), "{before:?} is not in {kept:?}");
    let events = demo.events().await;
    demo.sync(&events).await;
    let server = server_pid(dir.path()).expect("a server of its own");
    demo.binary.end(Signal::SIGTERM, Duration::from_secs(10)).await;
    assert!(gone(server, Duration::from_secs(2)).await);
}
