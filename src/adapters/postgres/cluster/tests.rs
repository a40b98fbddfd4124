//! Real servers, each in a directory of its own. The 0700 and identity cases
//! differ for root and for an ordinary user; both are worth a run.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/vz-cluster-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("scratch directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(dir)
    }

    fn options(&self) -> ClusterOptions {
        ClusterOptions::new(self.0.join("pg")).durability(Durability::TestFast)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn run(cluster: &Cluster, statement: &str) {
    let client = adopt::connect(&cluster.config("postgres")).await.expect("connect");
    client.batch_execute(statement).await.expect("statement");
}

async fn number(cluster: &Cluster, query: &str) -> i64 {
    let client = adopt::connect(&cluster.config("postgres")).await.expect("connect");
    client.query_one(query, &[]).await.expect("query").get(0)
}

fn lives(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(nix::errno::Errno::ESRCH)
}

#[tokio::test]
async fn a_cold_open_makes_a_durable_private_cluster_and_a_warm_one_keeps_its_data() {
    let scratch = Scratch::new();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let durable = scratch
        .options()
        .durability(Durability::Durable)
        .on_progress(Arc::new(move |step| seen.lock().unwrap().push(step)));
    let cluster = Cluster::open(durable).await.expect("cold open");
    assert_eq!(steps.lock().unwrap()[..2], [Progress::Initialising, Progress::Starting]);
    assert!(matches!(steps.lock().unwrap().last(), Some(Progress::Ready(_))));
    assert!(cluster.is_owner());

    let client = adopt::connect(&cluster.config("postgres")).await.expect("connect");
    for (setting, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ] {
        let row = client.query_one(&format!("show {setting}"), &[]).await.expect("show");
        assert_eq!(row.get::<_, String>(0), value, "{setting}");
    }
    let mode = fs::metadata(cluster.socket_dir()).expect("socket folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    run(&cluster, "create table kept (n int8); insert into kept values (42)").await;
    let url: Config = cluster.url("postgres").parse().expect("the url is a valid one");
    let by_url = adopt::connect(&url).await.expect("connect by url");
    by_url.batch_execute("select n from kept").await.expect("the same database");
    drop((client, by_url));

    let pid = cluster.server_pid().expect("it runs");
    cluster.stop().await.expect("stop");
    assert!(!lives(pid), "stop leaves no process");

    let cluster = Cluster::open(scratch.options()).await.expect("warm open");
    assert_eq!(number(&cluster, "select n from kept").await, 42);
    cluster.stop().await.expect("stop");
}

#[tokio::test]
async fn a_second_open_adopts_the_server_and_does_not_end_it() {
    let scratch = Scratch::new();
    let first = Cluster::open(scratch.options()).await.expect("first");
    let second = Cluster::open(scratch.options()).await.expect("second");
    assert!(first.is_owner() && !second.is_owner());
    assert_eq!(first.server_pid(), second.server_pid());
    run(&second, "create table shared (n int8)").await;
    second.stop().await.expect("the guest leaves");
    assert_eq!(number(&first, "select count(*) from shared").await, 0);
    first.stop().await.expect("stop");
}

#[tokio::test]
async fn two_opens_at_once_start_one_server() {
    let scratch = Scratch::new();
    let (one, two) =
        tokio::join!(Cluster::open(scratch.options()), Cluster::open(scratch.options()));
    let (one, two) = (one.expect("one"), two.expect("two"));
    assert_eq!(one.server_pid(), two.server_pid());
    assert!(one.is_owner() != two.is_owner());
    let (guest, owner) = if one.is_owner() { (two, one) } else { (one, two) };
    guest.stop().await.expect("guest");
    owner.stop().await.expect("owner");
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_a_new_open_has_every_acknowledged_row() {
    let scratch = Scratch::new();
    let cluster = Cluster::open(scratch.options()).await.expect("open");
    run(&cluster, "create table acked (n int8); insert into acked values (1)").await;
    let busy = adopt::connect(&cluster.config("postgres")).await.expect("connect");
    // A backend that is in the middle of something outlives its postmaster for a moment.
    let work = tokio::spawn(async move { busy.batch_execute("select pg_sleep(60)").await });
    let pid = cluster.server_pid().expect("it runs");
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("kill");
    cluster.exited().await;
    assert_eq!(cluster.server_pid(), None);

    let again = Cluster::open(scratch.options()).await.expect("reopen");
    assert_ne!(again.server_pid(), Some(pid));
    assert_eq!(number(&again, "select count(*) from acked").await, 1);
    assert!(work.await.expect("task").is_err(), "the old session is gone");
    drop(cluster);
    assert_eq!(number(&again, "select count(*) from acked").await, 1);
    again.stop().await.expect("stop");
}

#[tokio::test]
async fn a_data_directory_below_a_0700_folder_works() {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).expect("chmod");
    let cluster = Cluster::open(scratch.options()).await.expect("open below 0700");
    run(&cluster, "create table hidden (n int8)").await;
    cluster.stop().await.expect("stop");

    // Opened up later: root now becomes another user, and the files follow.
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).expect("chmod");
    let cluster = Cluster::open(scratch.options()).await.expect("open in the open");
    assert_eq!(number(&cluster, "select count(*) from hidden").await, 0);
    cluster.stop().await.expect("stop");

    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).expect("chmod");
    let cluster = Cluster::open(scratch.options()).await.expect("and closed again");
    assert_eq!(number(&cluster, "select count(*) from hidden").await, 0);
    cluster.stop().await.expect("stop");
}

#[tokio::test]
async fn a_stale_lock_file_with_the_pid_of_another_program_does_not_bar_the_way() {
    let scratch = Scratch::new();
    let cluster = Cluster::open(scratch.options()).await.expect("open");
    let root = cluster.root.clone();
    cluster.stop().await.expect("stop");
    // Postgres believes any living process of its own user; our parent is one
    // when the test does not run as root, and harmless to name otherwise.
    let other = std::os::unix::process::parent_id();
    let text = format!("{other}\n{}\n0\n5432\n\n\n", root.join("data").display());
    fs::write(root.join("data/postmaster.pid"), text).expect("plant");
    let cluster = Cluster::open(scratch.options()).await.expect("open despite the file");
    assert!(lives(other));
    cluster.stop().await.expect("stop");
}

#[tokio::test]
async fn a_folder_that_holds_something_else_is_left_alone() {
    let scratch = Scratch::new();
    let data = scratch.0.join("pg/data");
    fs::create_dir_all(&data).expect("folder");
    fs::write(data.join("letter.txt"), "dear").expect("file");
    let error = Cluster::open(scratch.options()).await.expect_err("not ours");
    assert!(error.to_string().contains("is no PostgreSQL cluster"), "{error}");
    assert_eq!(fs::read_to_string(data.join("letter.txt")).expect("still there"), "dear");
}

#[tokio::test]
async fn databases_are_copied_from_a_template_under_any_name() {
    let scratch = Scratch::new();
    let cluster = Cluster::open(scratch.options()).await.expect("open");
    cluster.create_database("mould", None).await.expect("create");
    let client = adopt::connect(&cluster.config("mould")).await.expect("connect");
    client.batch_execute("create table cast_in (n int8)").await.expect("table");
    drop(client);
    run(&cluster, "alter database mould allow_connections false").await;
    cluster.create_database("od\"d-name", Some("mould")).await.expect("copy");
    let copy = adopt::connect(&cluster.config("od\"d-name")).await.expect("connect");
    copy.batch_execute("select n from cast_in").await.expect("the table came along");
    let again = cluster.create_database("mould", None).await.expect_err("exists");
    assert!(again.to_string().contains("create database mould"), "{again}");
    drop(copy);
    cluster.stop().await.expect("stop");
}

const KEEPER_DIR: &str = "VZ_TEST_KEEPER_DIR";

/// Not a test of its own: the other process of the two tests below, started by
/// them with a directory in its environment.
#[tokio::test]
async fn keeper() {
    let Some(dir) = std::env::var_os(KEEPER_DIR) else { return };
    let options = ClusterOptions::new(dir).durability(Durability::TestFast);
    let cluster = Cluster::open(options).await.expect("open");
    run(&cluster, "create table by_keeper (n int8)").await;
    std::io::Write::write_all(&mut std::io::stderr(), b"keeper-ready\n").expect("say so");
    cluster.exited().await;
}

/// Runs `keeper` in a process of its own, waits until its server answers, and
/// kills it with SIGKILL. Returns the server's pid.
fn kill_a_keeper(dir: &Path, path: Option<&str>) -> u32 {
    use std::io::{BufRead as _, BufReader};
    let bin = Cluster::find_binaries(dir).expect("binaries").dir().to_path_buf();
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "adapters::postgres::cluster::tests::keeper", "--nocapture"])
        .env(KEEPER_DIR, dir)
        .env("PG_BIN_DIR", bin)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let mut child = command.spawn().expect("start the keeper");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let said: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| line != "keeper-ready")
        .filter(|line| line.contains("panicked"))
        .collect();
    assert!(said.is_empty(), "{said:?}");
    let server = adopt::recorded_pid(dir).expect("the server wrote its pid");
    child.kill().expect("kill -9");
    child.wait().expect("reap");
    server
}

async fn dies_with_parent(mode: u32) {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).expect("chmod");
    let dir = scratch.0.join("pg");
    let server = kill_a_keeper(&dir, None);
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, adopt::gone(&dir, server)).await.expect("it follows its parent");
    let cluster = Cluster::open(scratch.options()).await.expect("open again");
    assert!(cluster.is_owner());
    assert_ne!(cluster.server_pid(), Some(server));
    assert_eq!(number(&cluster, "select count(*) from by_keeper").await, 0);
    cluster.stop().await.expect("stop");
}

#[tokio::test]
async fn the_server_dies_with_a_killed_parent() {
    dies_with_parent(0o755).await;
}

#[tokio::test]
async fn the_server_dies_with_a_killed_parent_below_a_0700_folder() {
    dies_with_parent(0o700).await;
}

/// Also the control of the test above: without setpriv the server does stay.
#[tokio::test]
async fn without_setpriv_an_orphan_is_inherited_and_ended() {
    let scratch = Scratch::new();
    let dir = scratch.0.join("pg");
    let server = kill_a_keeper(&dir, Some("/nonexistent"));
    let cluster = Cluster::open(scratch.options()).await.expect("adopt the orphan");
    assert_eq!(cluster.server_pid(), Some(server));
    assert!(cluster.is_owner(), "nobody else looks after it");
    let guest = Cluster::open(scratch.options()).await.expect("a guest");
    assert!(!guest.is_owner(), "one heir is enough");
    assert_eq!(number(&cluster, "select count(*) from by_keeper").await, 0);
    cluster.stop().await.expect("stop");
    assert!(!adopt::is_server(&dir, server));
}
