//! As whom the server runs, and who may reach its files.
//!
//! PostgreSQL refuses to run as root. Root therefore becomes the owner of the
//! data directory, else `postgres`, else `nobody`; where that user cannot
//! reach the files (a data directory below a 0700 folder), a user namespace
//! makes root look like `nobody` to the server while the files stay root's.

use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Uid, User};

use super::error::{ClusterError, io};

/// The uid that namespaces map to: it must exist in `/etc/passwd`, or the
/// server ends with "user does not exist".
const NOBODY: &str = "65534";

/// As whom the server and initdb run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// As this process, which is not root.
    Own,
    /// Root becomes this user.
    User { uid: u32, gid: u32, name: String },
    /// Root enters a user namespace where it looks like nobody.
    Namespace,
}

impl Identity {
    /// Chooses for a cluster in `root` with programs in `bin`. `root` exists.
    pub(super) fn choose(root: &Path, bin: &Path) -> Result<Self, ClusterError> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        let owner = fs::metadata(root).map_err(io("look at", root))?;
        let (uid, gid, name) = if owner.uid() == 0 {
            let user = ["postgres", "nobody"]
                .iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .ok_or(ClusterError::NoUser)?;
            (user.uid.as_raw(), user.gid.as_raw(), user.name)
        } else {
            (owner.uid(), owner.gid(), owner.uid().to_string())
        };
        let way_to_data = root.parent().unwrap_or(root);
        let Some(blocked) = barrier(way_to_data, uid, gid).or_else(|| barrier(bin, uid, gid))
        else {
            return Ok(Self::User { uid, gid, name });
        };
        match namespace_works() {
            Ok(()) => Ok(Self::Namespace),
            Err(reason) => Err(ClusterError::Unreachable { user: name, blocked, reason }),
        }
    }

    /// The uid that owns the files on disk.
    pub(super) fn file_owner(&self) -> (u32, u32) {
        match self {
            Self::Own => (Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw()),
            Self::User { uid, gid, .. } => (*uid, *gid),
            Self::Namespace => (0, 0),
        }
    }

    /// A command that runs `program` under this identity and, where setpriv
    /// can, dies with the thread that spawns it. The wrappers exec, so the
    /// child's pid is the program's.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut words: Vec<PathBuf> = Vec::new();
        if *self == Self::Namespace {
            words.extend(namespace_words().into_iter().map(PathBuf::from));
        }
        if dies_with_parent() {
            words.extend(["setpriv", "--pdeathsig", "INT"].map(PathBuf::from));
        }
        words.push(program.to_path_buf());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if let Self::User { uid, gid, .. } = self {
            // std drops root's supplementary groups as well when a uid is set.
            command.uid(*uid).gid(*gid);
        }
        // PGPORT, PGDATA or PGOPTIONS of the caller's shell must not reach it.
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Gives `dir` and all below it to this identity, the top last, so that an
    /// interrupted run is noticed and repeated.
    pub(super) fn take_over(&self, dir: &Path) -> Result<(), ClusterError> {
        let (uid, gid) = self.file_owner();
        let here = match fs::symlink_metadata(dir) {
            Ok(here) => here,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io("look at", dir)(error)),
        };
        if *self == Self::Own || here.uid() == uid {
            return Ok(());
        }
        chown_tree(dir, uid, gid)
    }
}

fn chown_tree(path: &Path, uid: u32, gid: u32) -> Result<(), ClusterError> {
    let about = fs::symlink_metadata(path).map_err(io("look at", path))?;
    if about.is_dir() {
        for entry in fs::read_dir(path).map_err(io("read", path))? {
            chown_tree(&entry.map_err(io("read", path))?.path(), uid, gid)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(io("chown", path))
}

/// The first folder on the way to `dir`, itself included, that the user may
/// not enter. Access lists are not read: a false alarm only costs a namespace.
fn barrier(dir: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    let mut way: Vec<&Path> = dir.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|folder| {
            fs::metadata(folder).is_ok_and(|about| {
                let bit = match () {
                    () if about.uid() == uid => 0o100,
                    () if about.gid() == gid => 0o010,
                    () => 0o001,
                };
                about.permissions().mode() & bit == 0
            })
        })
        .map(Path::to_path_buf)
}

fn namespace_words() -> [String; 4] {
    ["unshare".into(), "-U".into(), format!("--map-user={NOBODY}"), format!("--map-group={NOBODY}")]
}

fn namespace_works() -> Result<(), String> {
    let words = namespace_words();
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .arg("true")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

/// Whether setpriv is there and knows `--pdeathsig` (BusyBox's does not).
pub(crate) fn dies_with_parent() -> bool {
    Command::new("setpriv")
        .args(["--pdeathsig", "INT", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Creates `dir` with mode 0700; its parents get the usual mode.
pub(super) fn private_dir(dir: &Path) -> Result<(), ClusterError> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(io("create", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(io("create", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Whether the socket folder, whose name anyone could have taken first in
/// `/tmp`, may be trusted: a real folder, nobody else's, closed to others.
pub(super) fn check_socket_dir(dir: &Path, owners: &[u32]) -> Result<(), ClusterError> {
    let refuse = |reason: String| ClusterError::SocketDir { dir: dir.to_path_buf(), reason };
    let about = fs::symlink_metadata(dir).map_err(io("look at", dir))?;
    if !about.is_dir() {
        return Err(refuse("it is not a folder".into()));
    }
    if !owners.contains(&about.uid()) {
        return Err(refuse(format!("it belongs to uid {}", about.uid())));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(refuse(format!("its mode is {:o}", about.permissions().mode() & 0o777)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let top = std::env::temp_dir().join(format!("vz-way-{}", std::process::id()));
        let deep = top.join("closed/deep");
        fs::create_dir_all(&deep).expect("folders");
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o700)).expect("chmod");
        assert_eq!(barrier(&deep, 4_000_000, 4_000_000), Some(top.join("closed")));
        let me = Uid::effective().as_raw();
        assert_ne!(barrier(&deep, me, me), Some(top.join("closed")));
        fs::remove_dir_all(top).expect("clean");
    }

    #[test]
    fn a_socket_folder_open_to_others_or_of_another_user_is_refused() {
        let dir = std::env::temp_dir().join(format!("vz-sock-{}", std::process::id()));
        private_dir(&dir).expect("create");
        let me = Uid::effective().as_raw();
        check_socket_dir(&dir, &[me]).expect("private and ours");
        assert!(check_socket_dir(&dir, &[4_000_000]).is_err());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).expect("chmod");
        assert!(check_socket_dir(&dir, &[me]).is_err());
        fs::remove_dir(dir).expect("clean");
    }
}
