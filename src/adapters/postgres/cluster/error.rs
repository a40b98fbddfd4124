//! What can go wrong with the embedded database, each in one line that says
//! what to do about it.

use std::path::{Path, PathBuf};

/// How to get server binaries, said wherever they are missing.
pub(super) const INSTALL_HINT: &str = "install the PostgreSQL server (Debian/Ubuntu: apt-get install -y postgresql; \
     Fedora: dnf install -y postgresql-server; Alpine: apk add postgresql; macOS: brew install postgresql), \
     or set PG_BIN_DIR to a folder with postgres and initdb, or VZ_SYNC_DATABASE_URL to a running server";

/// A failure to find, start, adopt or stop the embedded database.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No folder with both programs was found.
    #[error("no PostgreSQL server binaries found ({looked}): {INSTALL_HINT}")]
    NoBinaries {
        /// Where the finder looked, for the reader of the message.
        looked: String,
    },
    /// `PG_BIN_DIR` names a folder that cannot be used. It is never ignored
    /// silently: whoever sets it means it.
    #[error(
        "PG_BIN_DIR={} cannot be used: {reason}; it must hold working postgres and initdb programs",
        dir.display()
    )]
    BadBinDir {
        /// The folder as given.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data was written by another major version.
    #[error(
        "the data in {} was written by PostgreSQL {data}, but only version {found} is installed: \
         install PostgreSQL {data}, point PG_BIN_DIR at it, or start afresh with another data directory",
        dir.display()
    )]
    VersionMismatch {
        /// The data directory.
        dir: PathBuf,
        /// Major version that wrote the data.
        data: String,
        /// Major versions that were found.
        found: String,
    },
    /// Root may not run Postgres, and no other user can reach the files.
    #[error(
        "root may not run PostgreSQL, user {user} cannot enter {}, and user namespaces are not available ({reason}): \
         let others enter it (chmod o+x), choose another data directory, or start as an ordinary user",
        blocked.display()
    )]
    Unreachable {
        /// The user the server would have run as.
        user: String,
        /// The folder that bars the way.
        blocked: PathBuf,
        /// Why a user namespace does not help.
        reason: String,
    },
    /// Root found no user to become.
    #[error(
        "root may not run PostgreSQL and neither user postgres nor nobody exists: create one of them"
    )]
    NoUser,
    /// `data` exists and is not a cluster.
    #[error("{} is not empty and is no PostgreSQL cluster: move it away or choose another data directory", dir.display())]
    NotACluster {
        /// The offending folder.
        dir: PathBuf,
    },
    /// The socket folder is not private.
    #[error("{} is not safe for a database socket ({reason}): remove it and start again", dir.display())]
    SocketDir {
        /// The socket folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server answers on the socket, but with other data.
    #[error("the server on {} serves {served}, not this data directory: stop it first", socket.display())]
    OtherServer {
        /// The socket folder.
        socket: PathBuf,
        /// The data directory it says it serves.
        served: String,
    },
    /// `initdb` or `postgres` ended with an error.
    #[error("{program} failed ({status}): {tail} (log: {})", log.display())]
    Failed {
        /// Which program.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// The last lines that it logged.
        tail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server did not answer in time.
    #[error("the database in {} did not answer within {seconds} s: {tail} (log: {})", dir.display(), log.display())]
    NotAnswering {
        /// The cluster's folder.
        dir: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// The last lines that it logged.
        tail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server would not end.
    #[error("database server {pid} did not end, not even after SIGKILL: see what holds it with ps")]
    WillNotStop {
        /// Its process id.
        pid: u32,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The attempted operation, as a verb.
        what: &'static str,
        /// The path it was attempted on.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The server refused a statement of ours.
    #[error("the embedded database refused to {what}: {source}")]
    Statement {
        /// What was asked.
        what: String,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
}

/// Attaches verb and path to an I/O error.
pub(super) fn io<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> ClusterError + 'a {
    move |source| ClusterError::Io { what, path: path.to_path_buf(), source }
}
