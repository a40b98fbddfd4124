//! Vhosts of one broker that all tests of a run share.
//!
//! The broker starts when the first test asks: it takes seconds, and a run
//! without such a test must not pay for it. Whoever runs the tests answers on a
//! unix socket, one line with the URL of an unused vhost for each connection.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use super::broker::Broker;

/// Names the socket on which vhosts are handed out.
pub const SOCKET: &str = "VZ_SYNC_TEST_AMQP";

/// Vhosts made in one go.
const BATCH: usize = 6;

/// Hands out vhosts; makes broker and vhosts when they are asked for.
pub struct Vhosts {
    dir: PathBuf,
    stock: Mutex<Stock>,
}

#[derive(Default)]
struct Stock {
    broker: Option<Broker>,
    unused: Vec<String>,
    made: usize,
}

impl Vhosts {
    /// Of a broker that will live in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, stock: Mutex::default() }
    }

    /// The URL of a vhost that nobody used.
    pub async fn take(&self) -> Result<String> {
        let mut stock = self.stock.lock().await;
        if stock.broker.is_none() {
            std::fs::create_dir_all(&self.dir)?;
            stock.broker = Some(Broker::start(self.dir.clone(), None).await?);
        }
        let Stock { broker, unused, made } = &mut *stock;
        let broker = broker.as_ref().context("the broker was started")?;
        if unused.is_empty() {
            let names: Vec<String> =
                (*made..*made + BATCH).map(|number| format!("test{number}")).collect();
            broker.add_vhosts(&names).await?;
            *made += BATCH;
            unused.extend(names);
        }
        let vhost = unused.pop().context("vhosts were made")?;
        Ok(broker.url(&vhost))
    }

    /// Answers on the socket until the future is dropped.
    pub async fn serve(&self, listener: UnixListener) -> Result<()> {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let answer = match self.take().await {
                Ok(url) => url,
                Err(error) => format!("error: {error:#}"),
            };
            // A test that has gone needs none.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}

/// Asks the one who runs the tests.
pub async fn ask(socket: &Path) -> Result<String> {
    let mut answer = String::new();
    UnixStream::connect(socket).await?.read_to_string(&mut answer).await?;
    anyhow::ensure!(answer.starts_with("amqp://"), "no broker for the tests: {answer}");
    Ok(answer)
}
