//! A database of its own for each test.
//!
//! Stand-in: once `adapters::postgres::cluster` is there, its launcher replaces `launch` below.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;
use vz_sync::adapters::postgres::migrate;

static SERVER: OnceLock<Config> = OnceLock::new();

/// A database that only one test sees.
pub struct Database {
    config: Config,
    name: String,
}

impl Database {
    /// An empty database, on the server of `VZ_SYNC_TEST_PG` or on a private one.
    pub async fn empty() -> Self {
        let server = SERVER.get_or_init(|| match std::env::var("VZ_SYNC_TEST_PG") {
            Ok(dsn) => dsn.parse().expect("VZ_SYNC_TEST_PG is a Postgres DSN"),
            Err(_) => launch(),
        });
        let name = format!("it_{}", Uuid::new_v4().simple());
        connect(server).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let mut config = server.clone();
        config.dbname(&name);
        Self { config, name }
    }

    /// A database with the whole schema.
    pub async fn migrated() -> (Self, Client) {
        let database = Self::empty().await;
        let mut client = database.connect().await;
        migrate::up(&mut client).await.unwrap();
        (database, client)
    }

    /// One more session.
    pub async fn connect(&self) -> Client {
        connect(&self.config).await
    }

    /// Drops the database; a failed test leaves it for inspection.
    pub async fn finish(self) {
        let server = connect(SERVER.get().unwrap()).await;
        server.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await.unwrap();
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// Starts a server that dies with this process, in a directory that the next run clears.
fn launch() -> Config {
    clear_leftovers();
    let directory = PathBuf::from(format!("/tmp/vz-it-pg-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        let user =
            nix::unistd::User::from_name("postgres").unwrap().expect("a user postgres exists");
        chown(&directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let data = directory.join("data");
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let run = move |program: &str| {
        let mut command = Command::new("setpriv");
        if root {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.args(["--pdeathsig=INT"]).arg(binaries().join(program)).arg("-D").arg(&data);
        command.env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
        command
    };
    let made =
        run("initdb").args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]).status().unwrap();
    assert!(made.success(), "initdb failed, see {}/log", directory.display());
    let mut server = run("postgres");
    server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c"]);
    server.arg(format!("unix_socket_directories={}", directory.display()));
    // The death signal follows the spawning thread, so that thread must outlive every test.
    std::thread::spawn(move || server.spawn().expect("postgres starts").wait());
    let mut config = Config::new();
    config.host_path(&directory).user("postgres").dbname("postgres");
    let ready = || {
        let check = Command::new(binaries().join("pg_isready"))
            .arg("-q")
            .arg("-h")
            .arg(&directory)
            .status();
        check.is_ok_and(|status| status.success())
    };
    while !ready() {
        std::thread::yield_now();
    }
    config
}

fn binaries() -> PathBuf {
    if let Ok(directory) = std::env::var("PG_BIN_DIR") {
        return directory.into();
    }
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("Postgres server binaries are installed");
    let newest = versions
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max();
    newest.expect("Postgres server binaries are installed")
}

fn clear_leftovers() {
    for entry in std::fs::read_dir("/tmp").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("vz-it-pg-") else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
