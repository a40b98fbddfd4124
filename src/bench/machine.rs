//! On what was measured.

use std::fs;

use anyhow::Result;
use serde::Serialize;
use tokio_postgres::Client;

use super::procfs;

/// The machine and the versions, to be read beside every figure.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// What they call themselves.
    pub cpu: String,
    /// Memory in megabytes of 10^6 bytes.
    pub memory_mb: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Version of the database server, where one was used.
    pub postgres: Option<String>,
    /// Version of this program.
    pub version: &'static str,
    /// The measuring process.
    pub pid: u32,
    /// `release` or `debug`.
    pub build: &'static str,
    /// Load average of the last minute at the start.
    pub load_before: Option<f64>,
    /// And at the end.
    pub load_after: Option<f64>,
}

impl Machine {
    /// Looks around.
    pub async fn look(sql: Option<&Client>) -> Result<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
        let postgres = match sql {
            Some(sql) => sql.query_one("SHOW server_version", &[]).await?.get(0),
            None => None,
        };
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_mb: kib.unwrap_or(0) * 1024 / 1_000_000,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres,
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            load_before: procfs::load_1m(),
            load_after: None,
        })
    }

    /// The same once the work is done.
    pub fn at_end(mut self) -> Self {
        self.load_after = procfs::load_1m();
        self
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let load = |load: Option<f64>| load.map_or("?".to_owned(), |load| format!("{load:.1}"));
        let warning = match self.build {
            "debug" => "\nA debug build: these figures say nothing. Use `make bench`.",
            _ => "",
        };
        let postgres = self.postgres.as_ref();
        let postgres = postgres.map_or(String::new(), |version| format!("PostgreSQL {version}, "));
        format!(
            "{} cores ({}), {} MB, Linux {}, {postgres}vz-sync {} ({}); load {} to {}{warning}",
            self.cores,
            self.cpu,
            self.memory_mb,
            self.kernel,
            self.version,
            self.build,
            load(self.load_before),
            load(self.load_after),
        )
    }
}
