//! Databases that are reached over the network: TLS, several hosts.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use tokio_postgres::Config;
use vz_sync::adapters::postgres::connect::Connector;
use vz_sync::adapters::postgres::pool::{PoolSizes, Pools};
use vz_sync::boot::{Database, Prepared};
use vz_sync::config::{Loaded, Sources};
use vz_sync::secrets::MasterKey;

use crate::support::binary::Scratch;
use crate::support::network::{Authority, NetworkServer};
use crate::support::postgres::TestDatabase;

fn write(dir: &Scratch, name: &str, pem: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, pem).expect("it is written");
    path
}

/// Whether the session is encrypted, or what the driver and its causes said.
async fn encrypted(url: &str, root_cert: Option<&Path>) -> Result<bool, String> {
    let config: Config = url.parse().expect("a URL");
    let connector = Connector::new(config, root_cert).map_err(|error| error.to_string())?;
    let client = connector.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })?;
    let own = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(client.query_one(own, &[]).await.expect("it answers").get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_with_tls_is_trusted_only_with_its_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = NetworkServer::start(&authority.certify("localhost")).await;
    let dir = Scratch::new();
    let ours = write(&dir, "ours.crt", &authority.pem);
    let wrong = write(&dir, "wrong.crt", &other.pem);
    let (ours, wrong) = (Some(ours.as_path()), Some(wrong.as_path()));
    let require = server.url("localhost", "require");
    assert_eq!(encrypted(&require, ours).await, Ok(true));
    // A bundle may hold more than one.
    let both = write(&dir, "both.crt", &format!("{}{}", other.pem, authority.pem));
    assert_eq!(encrypted(&require, Some(&both)).await, Ok(true));

    let refused = encrypted(&require, wrong).await.expect_err("another authority");
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let refused = encrypted(&server.url("127.0.0.1", "require"), ours).await;
    let refused = refused.expect_err("another name");
    assert!(refused.contains("not valid for name"), "{refused}");
    let refused = encrypted(&require, None).await.expect_err("nobody trusts it here");
    assert!(!refused.is_empty());

    let prefer = server.url("localhost", "prefer");
    assert_eq!(encrypted(&prefer, None).await, Ok(false), "it promises nothing");
    assert!(encrypted(&prefer, wrong).await.is_err(), "but whoever names one wants it checked");
    assert_eq!(encrypted(&prefer, ours).await, Ok(true));
    assert_eq!(encrypted(&server.url("localhost", "disable"), None).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_server_with_tls_is_reached_by_every_connection_of_a_service() {
    let authority = Authority::new();
    let server = NetworkServer::start(&authority.certify("localhost")).await;
    let dir = Scratch::new();
    let root_cert = write(&dir, "ca.crt", &authority.pem);
    let key = MasterKey::generate("test").expect("a key");
    let environment = [
        ("VZ_SYNC_DATABASE_URL", server.url("localhost", "require")),
        ("VZ_SYNC_DATABASE__SSL_ROOT_CERT", root_cert.display().to_string()),
        ("VZ_SYNC_MASTER_KEYS", key.to_entry().expose_secret().to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let sources = Sources { environment, ..Sources::default() };
    let config = Loaded::load(&sources).expect("sound settings").config;
    let database = Database::open(&config, None).await.expect("it is reached");
    database.migrate().await.expect("migrated");
    let prepared = Prepared::over(&config, &database).await.expect("the adapters are built");
    let pools = &prepared.adapters.pools;
    let mut held = Vec::new();
    for pool in [&pools.pipeline, &pools.reads, &pools.staging] {
        held.push(pool.get().await.expect("a session"));
    }
    let sessions = "select application_name, ssl from pg_stat_activity join pg_stat_ssl using (pid)
                    where backend_type = 'client backend'";
    let expected = ["vz-sync pipeline", "vz-sync reads", "vz-sync signals", "vz-sync staging"];
    loop {
        let rows = held[0].query(sessions, &[]).await.expect("it answers");
        let of = |row: &tokio_postgres::Row| (row.get::<_, String>(0), row.get::<_, bool>(1));
        let seen: Vec<_> = rows.iter().map(of).collect();
        assert!(seen.iter().all(|(_, ssl)| *ssl), "{seen:?}");
        if expected.iter().all(|name| seen.iter().any(|(seen, _)| seen == name)) {
            break;
        }
        // The signals connect by themselves and tell only their listeners.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_chosen() {
    let (standby, primary) = (TestDatabase::empty().await, TestDatabase::empty().await);
    // One server for both: a standby is known by refusing writes, and so is this.
    let name = standby.config().get_dbname().expect("named").to_owned();
    let refuse = format!("alter database {name} set default_transaction_read_only = on");
    primary.client().await.batch_execute(&refuse).await.expect("it refuses");
    let socket = |database: &TestDatabase| {
        let url = database.url();
        url.split_once("host=").expect("a socket").1.to_owned()
    };
    let dead = "/nonexistent/socket";
    let over = async |attrs: &str, database: &TestDatabase| {
        let name = database.config().get_dbname().expect("named").to_owned();
        let hosts = format!("host={dead}&host={}", socket(database));
        let url = format!("postgres://postgres@/{name}?{hosts}&target_session_attrs={attrs}");
        let connector = Connector::new(url.parse().expect("a URL"), None).expect("no TLS");
        let client = connector.connect().await.map_err(|error| error.to_string())?;
        let row = client.query_one("select current_database()::text", &[]).await.expect("one");
        Ok::<String, String>(row.get(0))
    };
    assert_eq!(over("any", &standby).await.as_deref(), Ok(name.as_str()), "the dead one is passed");
    assert!(over("read-write", &standby).await.is_err());
    assert!(over("read-write", &primary).await.is_ok());
}

#[tokio::test]
async fn a_statement_may_take_as_long_as_is_configured() {
    let database = TestDatabase::empty().await;
    let limits = async |configured: &str| {
        let environment = [
            ("VZ_SYNC_DATABASE_URL", database.url()),
            ("VZ_SYNC_DATABASE__STATEMENT_TIMEOUT_SECONDS", configured.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let sources = Sources { environment, ..Sources::default() };
        let config = Loaded::load(&sources).expect("sound settings").config;
        let opened = Database::open(&config, None).await.expect("it is reached");
        let pools = Pools::open(&opened.connector, PoolSizes::default()).expect("pools");
        let mut limits = Vec::new();
        for pool in [&pools.pipeline, &pools.reads, &pools.staging] {
            let session = pool.get().await.expect("a session");
            let row = session.query_one("show statement_timeout", &[]).await.expect("one");
            limits.push(row.get::<_, String>(0));
        }
        limits
    };
    assert_eq!(limits("7").await, ["7s", "5s", "14s"]);
    assert_eq!(limits("3").await, ["3s", "3s", "6s"]);
}
