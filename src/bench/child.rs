//! This very binary as another process: what it costs is counted apart.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::procfs;
use crate::adapters::postgres::cluster::dies_with_parent;

/// A running command of this binary. Dropping it kills it.
pub struct Own {
    pid: u32,
    _child: Child,
    /// Kept open, or the command would be told that nobody listens.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Own {
    /// Starts a command with `environment` and nothing else of ours, and answers it with the first
    /// line that it writes.
    pub async fn start(args: &[&str], environment: &[(&str, &str)]) -> Result<(Self, String)> {
        let binary = std::env::current_exe().context("this binary cannot be found")?;
        // Where setpriv can, it dies with us even if we are killed; the wrapper becomes it.
        let mut command = if dies_with_parent() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(binary);
            command
        } else {
            Command::new(binary)
        };
        command.args(args).env_clear().envs(environment.iter().copied());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let what = args.first().copied().unwrap_or_default();
        let mut child =
            command.spawn().with_context(|| format!("`vz-sync {what}` cannot be started"))?;
        let pid = child.id().with_context(|| format!("`vz-sync {what}` ended at once"))?;
        let output = child.stdout.take().context("its output is not piped")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next_line().await?;
        let first = first.with_context(|| format!("`vz-sync {what}` ended without a word"))?;
        Ok((Self { pid, _child: child, _lines: lines }, first))
    }

    /// Its CPU time so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        procfs::cpu_s(self.pid).unwrap_or(0.0)
    }

    /// The memory that it has resident, in megabytes of 10^6 bytes.
    pub fn rss_mb(&self) -> f64 {
        procfs::rss_mb(self.pid).unwrap_or(0.0)
    }
}
