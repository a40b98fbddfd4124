//! The embedded database: a private, durable Postgres cluster that this
//! process finds, makes, starts and stops by itself.
//!
//! It is a real server in a data directory of ours, reached over a unix socket
//! that only this user may enter; it listens on no port. It dies with the
//! process that started it, and a second process adopts it over the socket.
//!
//! Deliberately absent: backups, upgrades between major versions, passwords
//! (the socket's folder is the guard), and any download of server programs.

mod adopt;
mod binaries;
mod error;
mod identity;
mod launch;
mod options;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio_postgres::Config;

pub(crate) use self::identity::dies_with_parent;
use self::{adopt::Answer, binaries::Search, error::io, identity::Identity, launch::Server};
pub use self::{
    binaries::Binaries,
    error::ClusterError,
    options::{ClusterOptions, Durability, Progress, ProgressFn},
};

/// Pause between two looks at a server that starts.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whose server it is.
#[derive(Debug)]
enum Hold {
    /// Our child.
    Child(Server),
    /// An orphan of an earlier run, ours from now on; the file is its lock.
    Inherited { pid: u32, _owner: File },
    /// Another living process's.
    Shared { pid: Option<u32> },
}

/// An open cluster. Dropping it asks our own server to end; [`Cluster::stop`]
/// also waits for it.
#[derive(Debug)]
pub struct Cluster {
    root: PathBuf,
    socket_dir: PathBuf,
    hold: Hold,
}

impl Cluster {
    /// Finds the server programs that [`Cluster::open`] would use for `dir`.
    pub fn find_binaries(dir: &Path) -> Result<Binaries, ClusterError> {
        let wanted = fs::read_to_string(dir.join("data/PG_VERSION")).ok();
        Search::from_env(dir).run(dir, wanted.as_deref().map(str::trim))
    }

    /// Opens the cluster: adopts a server that answers, else makes what is
    /// missing and starts one. Returns once it answers statements.
    pub async fn open(options: ClusterOptions) -> Result<Self, ClusterError> {
        let began = Instant::now();
        identity::private_dir(&options.dir)?;
        let root = fs::canonicalize(&options.dir).map_err(io("find", &options.dir))?;
        let socket_dir = socket_dir_for(&root);
        // Held until the server answers, so that nobody starts a second one.
        let _opening = wait_for_turn(&root, &options).await?;
        let deadline = tokio::time::Instant::now() + options.patience;

        let late = || ClusterError::NotAnswering {
            dir: root.clone(),
            seconds: options.patience.as_secs(),
            tail: launch::tail(&launch::log_path(&root)),
            log: launch::log_path(&root),
        };
        let mut told = false;
        let owner = loop {
            let answer = listen(&root, &socket_dir).await?;
            let owner = adopt::try_own(&root)?;
            match (answer, owner) {
                (Answer::Serving(_), owner) => {
                    let hold = match (owner, adopt::recorded_pid(&root)) {
                        (Some(owner), Some(pid)) => Hold::Inherited { pid, _owner: owner },
                        (_, pid) => Hold::Shared { pid },
                    };
                    options.report(Progress::Adopted);
                    return Ok(Self { root, socket_dir, hold });
                }
                (Answer::Silence, Some(owner)) => break owner,
                (Answer::Busy, _) | (Answer::Silence, None) => {}
            }
            if tokio::time::Instant::now() > deadline {
                return Err(late());
            }
            if !told {
                options.report(Progress::Waiting);
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        adopt::clear(&root).await?;

        let binaries = Self::find_binaries(&root)?;
        let identity = prepare(&root, &socket_dir, &binaries, &options).await?;
        options.report(Progress::Starting);
        let mut owner = owner;
        loop {
            let command = launch::server_command(
                &root,
                &socket_dir,
                &binaries,
                &identity,
                options.durability,
            )?;
            let handle = owner.try_clone().map_err(io("open", &root.join("owner.lock")))?;
            let server =
                Server::spawn(command, owner).await.map_err(io("run", &binaries.postgres()))?;
            owner = handle;
            loop {
                if let Answer::Serving(_) = listen(&root, &socket_dir).await? {
                    // Only the waiting thread keeps the lock from here on.
                    drop(owner);
                    options.report(Progress::Ready(began.elapsed()));
                    return Ok(Self { root, socket_dir, hold: Hold::Child(server) });
                }
                if tokio::time::Instant::now() > deadline {
                    let error = late();
                    server.stop().await?;
                    return Err(error);
                }
                if let Some(status) = server.exit_status() {
                    let log = launch::log_path(&root);
                    // Backends of a killed server need a moment to notice and let go.
                    if launch::tail(&log).contains("still in use") {
                        break;
                    }
                    return Err(launch::failed("postgres", status, &log));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            tokio::time::sleep(LOOK_AGAIN * 5).await;
        }
    }

    /// Connection settings for a database of the cluster.
    pub fn config(&self, database: &str) -> Config {
        adopt::config(&self.socket_dir, database)
    }

    /// The same as a URL, for psql and for other processes.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@/{database}?host={}", self.socket_dir.display())
    }

    /// The socket folder of a cluster in `dir`, which exists; it is the same for
    /// every process, running server or not.
    pub fn socket_dir_of(dir: &Path) -> std::io::Result<PathBuf> {
        fs::canonicalize(dir).map(|root| socket_dir_for(&root))
    }

    /// The private folder of the unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The server's process id; `None` once our own server has ended.
    pub fn server_pid(&self) -> Option<u32> {
        match &self.hold {
            Hold::Child(server) => server.exit_status().is_none().then(|| server.pid()),
            Hold::Inherited { pid, .. } => Some(*pid),
            Hold::Shared { pid } => *pid,
        }
    }

    /// Whether this handle keeps the server: it ends with [`Cluster::stop`].
    pub fn is_owner(&self) -> bool {
        !matches!(self.hold, Hold::Shared { .. })
    }

    /// Waits until the server ends, for whatever reason; the cluster can then
    /// be opened again.
    pub async fn exited(&self) {
        match &self.hold {
            Hold::Child(server) => server.exited().await,
            Hold::Inherited { pid, .. } | Hold::Shared { pid: Some(pid) } => {
                adopt::gone(&self.root, *pid).await;
            }
            Hold::Shared { pid: None } => {}
        }
    }

    /// Creates a database, as a copy of `template` when one is given.
    pub async fn create_database(
        &self,
        name: &str,
        template: Option<&str>,
    ) -> Result<(), ClusterError> {
        let statement = match template {
            Some(from) => format!("create database {} template {}", quoted(name), quoted(from)),
            None => format!("create database {}", quoted(name)),
        };
        let refused =
            |source| ClusterError::Statement { what: format!("create database {name}"), source };
        let client = adopt::connect(&self.config("postgres")).await.map_err(refused)?;
        client.batch_execute(&statement).await.map_err(refused)
    }

    /// Ends our server and waits for it; another process's is left alone.
    pub async fn stop(self) -> Result<(), ClusterError> {
        match self.hold {
            Hold::Child(server) => server.stop().await?,
            Hold::Inherited { pid, .. } => adopt::stop_other(&self.root, pid).await?,
            Hold::Shared { .. } => return Ok(()),
        }
        // The server has removed its socket; a left-over folder harms nobody.
        let _ = fs::remove_dir(&self.socket_dir);
        Ok(())
    }
}

/// Doubles the quotes: an identifier of any content.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Short, because a socket's path may have 107 bytes; derived from the data
/// directory, so that every process finds the same one.
fn socket_dir_for(root: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let digest = Sha256::digest(root.as_os_str().as_bytes());
    let short = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    PathBuf::from("/tmp").join(format!("vz-pg-{short:016x}"))
}

async fn wait_for_turn(root: &Path, options: &ClusterOptions) -> Result<File, ClusterError> {
    let file = adopt::lock_file(root, "open.lock")?;
    let path = root.join("open.lock");
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    options.report(Progress::Waiting);
    tokio::task::spawn_blocking(move || file.lock().map(|()| file))
        .await
        .map_err(|error| io("lock", &path)(std::io::Error::other(error)))?
        .map_err(io("lock", &path))
}

/// Probes the socket, if there is one that may be trusted.
async fn listen(root: &Path, socket_dir: &Path) -> Result<Answer, ClusterError> {
    if !socket_dir.join(".s.PGSQL.5432").exists() {
        return Ok(Answer::Silence);
    }
    let owner = fs::metadata(root).map_err(io("look at", root))?.uid();
    let me = nix::unistd::Uid::effective().as_raw();
    identity::check_socket_dir(socket_dir, &[owner, me])?;
    let answer = adopt::probe(socket_dir).await;
    if let Answer::Serving(served) = &answer
        && Path::new(served) != root.join("data")
    {
        return Err(ClusterError::OtherServer {
            socket: socket_dir.to_path_buf(),
            served: served.clone(),
        });
    }
    Ok(answer)
}

/// Chooses the identity, gives it the folders and makes the data directory.
async fn prepare(
    root: &Path,
    socket_dir: &Path,
    binaries: &Binaries,
    options: &ClusterOptions,
) -> Result<Identity, ClusterError> {
    if !root.join("data/PG_VERSION").exists() {
        options.report(Progress::Initialising);
    }
    let (root, socket_dir) = (root.to_path_buf(), socket_dir.to_path_buf());
    let (binaries, durability) = (binaries.clone(), options.durability);
    let work = move || {
        let identity = Identity::choose(&root, binaries.dir())?;
        let before = fs::metadata(&root).map_err(io("look at", &root))?.uid();
        identity.take_over(&root.join("data"))?;
        identity.take_over(&root)?;
        launch::initialise(&root, &binaries, &identity, durability)?;
        identity::private_dir(&socket_dir)?;
        let me = nix::unistd::Uid::effective().as_raw();
        identity::check_socket_dir(&socket_dir, &[before, me, identity.file_owner().0])?;
        identity.take_over(&socket_dir)?;
        Ok(identity)
    };
    let path = options.dir.clone();
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| io("prepare", &path)(std::io::Error::other(error)))?
}
