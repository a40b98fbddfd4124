//! A vhost for each test, and brokers of a test's own.
//!
//! `make test` runs everything under the `with-postgres` example, which also
//! hands out vhosts of one shared broker (`VZ_SYNC_TEST_AMQP`). Without the
//! variable each process starts a broker for itself on first use; it dies with
//! the process, and the next run removes its directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use vz_sync::adapters::rabbitmq::{Rabbit, RabbitOptions};

use super::broker::{Broker, ServerTls};
use super::vhosts::{SOCKET, Vhosts, ask};

/// The URL of an unused vhost.
pub async fn vhost() -> String {
    take().await.expect("a vhost of the test broker")
}

async fn take() -> Result<String> {
    static OWN: OnceCell<Vhosts> = OnceCell::const_new();
    if let Some(socket) = std::env::var_os(SOCKET) {
        return ask(Path::new(&socket)).await;
    }
    let vhosts = OWN.get_or_init(async || {
        sweep();
        Vhosts::new(directory("run"))
    });
    vhosts.await.take().await
}

/// The adapters over a URL.
pub async fn open(url: &str) -> Rabbit {
    open_with(url, RabbitOptions::default()).await
}

/// The same with other options.
pub async fn open_with(url: &str, options: RabbitOptions) -> Rabbit {
    let rabbit = Rabbit::open(&secret(url), options).await.expect("the broker takes us");
    rabbit.connected().await;
    rabbit
}

/// As the adapters want it.
pub fn secret(url: &str) -> SecretString {
    SecretString::from(url.to_owned())
}

/// A broker of the test's own, for tests that kill, freeze or starve it.
pub struct OwnBroker {
    /// The broker.
    pub broker: Broker,
    _dir: Dir,
}

impl OwnBroker {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts one that also speaks TLS.
    pub async fn start_with(tls: Option<&ServerTls>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = directory(&format!("own{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let kept = Dir(dir.clone());
        fs::create_dir_all(&dir).expect("a directory");
        let broker = Broker::start(dir, tls).await.expect("a broker");
        Self { broker, _dir: kept }
    }

    /// The URL of its default vhost.
    pub fn url(&self) -> String {
        self.broker.url("%2f")
    }
}

/// Removed with the value.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn directory(kind: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vz-test-mq-{}-{kind}", process::id()))
}

/// Removes what test processes left that have ended since.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let left = name.strip_prefix("vz-test-mq-").and_then(|rest| rest.split('-').next());
        if left.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
