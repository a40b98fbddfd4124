//! A connection that is cut while COMMIT is on its way: the store says that
//! it does not know, and the committed run tells the truth.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use vz_sync::adapters::postgres::store::{PgStore, StoreSettings};
use vz_sync_actors::ports::PortError;
use vz_sync_actors::ports::store::Store as _;
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, insert};

use super::{Ground, full, inline, pools};

/// Cuts each connection on which COMMIT passes while it is armed.
struct Cutter {
    folder: PathBuf,
    armed: Arc<AtomicBool>,
}

impl Cutter {
    /// Stands before the server's socket. With `deliver` the server gets the
    /// COMMIT and nobody hears its answer; without, it never arrives.
    fn new(server: PathBuf, deliver: bool) -> Self {
        let name = format!("vz-cut-{}-{deliver}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
        let armed = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&watched), deliver));
            }
        });
        Self { folder, armed }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn relay(client: UnixStream, server: UnixStream, armed: Arc<AtomicBool>, deliver: bool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut asked = vec![0; 64 * 1024];
    let mut answered = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let cut = armed.load(Ordering::SeqCst)
                    && asked[..length].windows(6).any(|word| word == b"COMMIT");
                if !cut || deliver {
                    to_server.write_all(&asked[..length]).await.unwrap();
                }
                if cut {
                    if deliver {
                        // The server has committed once it answers; then nobody listens.
                        let _ = from_server.read(&mut answered).await;
                    }
                    return;
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if to_client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn cut_during_commit(deliver: bool) {
    let ground = Ground::with_teams(&[1]).await;
    let key = environments_of(1);
    let config = ground.database.config();
    let [tokio_postgres::config::Host::Unix(socket)] = config.get_hosts() else {
        panic!("the test server listens on a socket")
    };
    let cutter = Cutter::new(socket.join(".s.PGSQL.5432"), deliver);
    let mut through = tokio_postgres::Config::new();
    through
        .host_path(&cutter.folder)
        .user("postgres")
        .dbname(config.get_dbname().expect("a database"));
    let (keys, settings) = (Arc::clone(&ground.keys), StoreSettings::default());
    let store = PgStore::new(pools(&through), keys, settings);

    let lease = ground.lease(key, 1).await;
    let apply = full(&lease, inline(vec![insert(Environment::new(1, 0).item())]));
    cutter.armed.store(true, Ordering::SeqCst);
    let outcome = store.apply(&apply).await;
    assert!(matches!(outcome, Err(PortError::OutcomeUnknown { .. })), "{outcome:?}");
    cutter.armed.store(false, Ordering::SeqCst);

    assert_eq!(store.committed(&lease.name).await.unwrap(), deliver);
    let stored = store.baseline(key).await.unwrap().environments.len();
    assert_eq!(stored, usize::from(deliver));
    // Where it had not happened, the same call does it; else it is overtaken by itself.
    let again = store.apply(&apply).await.unwrap();
    let committed = matches!(again, vz_sync_actors::ports::store::Applied::Committed { .. });
    assert_eq!(committed, !deliver);
    assert_eq!(store.baseline(key).await.unwrap().environments.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_did_happen() {
    cut_during_commit(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_did_not_happen() {
    cut_during_commit(false).await;
}
