//! A fresh database for each test.
//!
//! `make test` runs everything under the `with-postgres` example, which starts
//! one server and names its socket folder in `VZ_SYNC_TEST_PG`: nextest gives
//! each test a process of its own, and they all share that server. Without the
//! variable each process starts a server for itself on first use; it dies with
//! the process, and the next run removes its directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result};
use tokio::{runtime, sync::OnceCell};
use tokio_postgres::{Client, Config, NoTls};
use vz_sync::adapters::postgres::cluster::{Cluster, ClusterOptions, Durability};
use vz_sync::adapters::postgres::migrate;

/// Names the socket folder of the server that all test processes share.
pub const SERVER: &str = "VZ_SYNC_TEST_PG";

/// The template that [`TestDatabase::fresh`] copies.
const TEMPLATE: &str = "vz_template";

/// Held by whoever builds a template; any number that nobody else uses.
const TEMPLATE_LOCK: i64 = 0x767a_7465_6d70;

/// A database of its own, dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    socket_dir: PathBuf,
}

impl TestDatabase {
    /// A copy of the migrated template. The first caller of a run builds the
    /// template with `migrate`; everyone must pass the same one.
    pub async fn fresh(migrate: impl AsyncFnOnce(Config) -> Result<()>) -> Self {
        Self::from_template(TEMPLATE, migrate).await
    }

    /// A database with the whole schema and no team.
    pub async fn migrated() -> Self {
        Self::fresh(async |config| {
            let mut client = connect(&config).await?;
            migrate::up(&mut client).await?;
            Ok(())
        })
        .await
    }

    /// A copy of the template `template`, built by `migrate` once per server.
    pub async fn from_template(
        template: &str,
        migrate: impl AsyncFnOnce(Config) -> Result<()>,
    ) -> Self {
        let socket_dir = server().await.expect("a test server");
        build_template(&socket_dir, template, migrate).await.expect("the template database");
        Self::create(socket_dir, Some(template)).await.expect("a test database")
    }

    /// A database without any table.
    pub async fn empty() -> Self {
        let socket_dir = server().await.expect("a test server");
        Self::create(socket_dir, None).await.expect("a test database")
    }

    async fn create(socket_dir: PathBuf, template: Option<&str>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", process::id());
        let admin = connect(&config(&socket_dir, "postgres")).await?;
        // A recycled process id may meet a database that an aborted run left.
        admin.batch_execute(&format!("drop database if exists {name} with (force)")).await?;
        let copy = template.map(|from| format!(" template {from}")).unwrap_or_default();
        admin.batch_execute(&format!("create database {name}{copy}")).await?;
        Ok(Self { name, socket_dir })
    }

    /// Connection settings.
    pub fn config(&self) -> Config {
        config(&self.socket_dir, &self.name)
    }

    /// The same as a URL, for a process under test.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@/{}?host={}", self.name, self.socket_dir.display())
    }

    /// A connection of its own.
    pub async fn client(&self) -> Client {
        connect(&self.config()).await.expect("connect to the test database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let admin = config(&self.socket_dir, "postgres");
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A thread with a runtime of its own, since the test's may be the one
        // that is being dropped. A failure is harmless: the server goes anyway.
        let work = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                connect(&admin).await?.batch_execute(&statement).await?;
                anyhow::Ok(())
            })
        });
        let _ = work.join();
    }
}

/// A server of the test's own, for tests that kill or stop it. The directory is
/// removed with the value; stop the cluster first.
pub struct PrivateDir(PathBuf);

impl PrivateDir {
    /// An unused directory.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(run_dir(&format!("own{}", NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How to open a cluster there.
    pub fn options(&self) -> ClusterOptions {
        ClusterOptions::new(&self.0).durability(Durability::TestFast)
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

async fn build_template(
    socket_dir: &Path,
    template: &str,
    migrate: impl AsyncFnOnce(Config) -> Result<()>,
) -> Result<()> {
    let admin = connect(&config(socket_dir, "postgres")).await?;
    let known = "select 1 from pg_database where datname = $1";
    if admin.query_opt(known, &[&template]).await?.is_some() {
        return Ok(());
    }
    // Ends with the connection, so that a failed builder blocks nobody.
    admin.execute("select pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await?;
    if admin.query_opt(known, &[&template]).await?.is_some() {
        return Ok(());
    }
    let draft = format!("{template}_draft");
    admin.batch_execute(&format!("drop database if exists {draft} with (force)")).await?;
    admin.batch_execute(&format!("create database {draft}")).await?;
    migrate(config(socket_dir, &draft)).await.context("migrating the template database")?;
    // A copy is refused while anybody is connected to the original; migrate's
    // connections may need a moment to close.
    let close = format!(
        "alter database {draft} allow_connections false;
         select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{draft}'"
    );
    admin.batch_execute(&close).await?;
    admin.batch_execute(&format!("alter database {draft} rename to {template}")).await?;
    Ok(())
}

/// The socket folder of the server to use, started if need be.
async fn server() -> Result<PathBuf> {
    static OWN: OnceCell<Cluster> = OnceCell::const_new();
    if let Some(shared) = std::env::var_os(SERVER) {
        return Ok(PathBuf::from(shared));
    }
    let start = || async {
        sweep().await;
        let options = ClusterOptions::new(run_dir("run")).durability(Durability::TestFast);
        Cluster::open(options).await
    };
    Ok(OWN.get_or_try_init(start).await?.socket_dir().to_path_buf())
}

fn run_dir(kind: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vz-test-pg-{}-{kind}", process::id()))
}

/// Removes what test processes left that have ended since.
async fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some(pid) = name.strip_prefix("vz-test-pg-").and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if Path::new("/proc").join(pid).exists() {
            continue;
        }
        let dir = entry.path();
        // Only without setpriv can a server outlive its test; it is inherited.
        if dir.join("data/postmaster.pid").exists() {
            let options = ClusterOptions::new(&dir).durability(Durability::TestFast);
            if let Ok(left) = Cluster::open(options).await {
                let _ = left.stop().await;
            }
        }
        remove(&dir);
    }
}

fn remove(dir: &Path) {
    if let Ok(socket_dir) = Cluster::socket_dir_of(dir) {
        let _ = fs::remove_dir(socket_dir);
    }
    let _ = fs::remove_dir_all(dir);
}

fn config(socket_dir: &Path, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(socket_dir).user("postgres").dbname(database);
    config
}

async fn connect(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await.with_context(|| {
        format!("no test server answers ({SERVER} names a socket folder; unset it to start one)")
    })?;
    tokio::spawn(connection);
    Ok(client)
}
