//! `bench codec`: what reading a listing costs, stage by stage, without network and database.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use vz_sync_actors::domain::item::Element;
use vz_sync_actors::domain::plan::Planner;
use vz_sync_actors::domain::{Baseline, Fence, RowFlags, StoredRow};

use super::procfs;
use super::report::{Report, median};
use crate::adapters::virtuozzo::{Depth, read_body};
use crate::simulator::{self, AccountSpec, SimulatorOptions};

/// Bytes that a socket hands over at once, about.
const CHUNK: usize = 64 * 1024;

/// Measure what reading one listing costs, stage by stage
///
/// The listing is the simulator's, of realistic width, and in memory. Each stage includes those
/// above it: found, hashed, read as new (parsed, canonicalised, versioned), read and planned
/// against an empty mirror, and read and planned when every byte is known. CPU time of this
/// process, medians.
#[derive(Debug, Clone, Args)]
pub struct CodecArgs {
    /// Environments in the listing
    #[arg(long, default_value_t = 10_000)]
    pub envs: usize,
    /// Nodes of each environment
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Times that each stage is measured
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
}

const KEY: &[u8] = b"a key for measurements";

impl CodecArgs {
    /// Runs it.
    pub async fn run(&self) -> Result<Report> {
        let account = AccountSpec::numbered(1, self.envs, self.nodes);
        let owner = account.uid;
        let options =
            SimulatorOptions { accounts: vec![account], wide: true, ..SimulatorOptions::default() };
        let platform = simulator::start(options).await?;
        let token = platform.world().token(owner).context("the account has no token")?.to_owned();
        let answer = reqwest::Client::new()
            .post(format!("{}/1.0/environment/control/rest/getbasicenvsinfo", platform.base_url()))
            .form(&[("session", token)])
            .send()
            .await?;
        let body = answer.bytes().await?;
        drop(platform);
        let report = tokio::task::block_in_place(|| self.measure(&body, owner));
        Ok(report)
    }

    fn measure(&self, body: &[u8], owner: i64) -> Report {
        let items = self.envs * (1 + self.nodes);
        let empty = Baseline::default();
        let known = known(body, owner);
        let read = |depth, baseline: &Baseline| {
            read_body(body, CHUNK, depth, (KEY, owner), baseline, |element| {
                std::hint::black_box(&element);
            });
        };
        let plan = |baseline: &Baseline| {
            let mut planner = Planner::new(baseline, baseline.is_empty());
            read_body(body, CHUNK, Depth::Read, (KEY, owner), baseline, |element| {
                std::hint::black_box(planner.accept(element));
            });
            std::hint::black_box(planner.counts());
        };
        let stages: [(&str, &dyn Fn()); 5] = [
            ("found", &|| read(Depth::Found, &empty)),
            ("hashed", &|| read(Depth::Hashed, &empty)),
            ("read as new", &|| read(Depth::Read, &empty)),
            ("and planned", &|| plan(&empty)),
            ("all known", &|| plan(&known)),
        ];
        let megabytes = body.len() as f64 / 1e6;
        let mut text = format!(
            "{items} items, {megabytes:.1} MB, medians of {}\n\n{:<12} {:>8} {:>9} {:>8}\n",
            self.runs, "stage", "CPU s", "us/item", "MB/s"
        );
        let mut rows = Vec::new();
        for (name, stage) in stages {
            let took: Vec<f64> = (0..self.runs).map(|_| cpu_of(stage)).collect();
            let cpu = median(&took);
            let (each, rate) = (cpu * 1e6 / items as f64, megabytes / cpu);
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<12} {cpu:>8.4} {each:>9.2} {rate:>8.0}");
            rows.push(json!({"stage": name, "cpu_s": cpu, "us_per_item": each, "mb_per_s": rate}));
        }
        Report {
            json: json!({"bench": "codec", "items": items, "bytes": body.len(), "stages": rows}),
            text,
        }
    }
}

/// CPU seconds of this process while `work` ran.
fn cpu_of(work: &dyn Fn()) -> f64 {
    let (began, wall) = (procfs::own_cpu_s(), Instant::now());
    work();
    let cpu = procfs::own_cpu_s() - began;
    // Short stages fall below the resolution of the process's times.
    if cpu > 0.0 { cpu } else { wall.elapsed().as_secs_f64() }
}

/// What a mirror knows once it has read `body`.
fn known(body: &[u8], owner: i64) -> Baseline {
    let mut baseline = Baseline::default();
    read_body(body, CHUNK, Depth::Read, (KEY, owner), &Baseline::default(), |element| {
        let Element::Environment(element) = element else { return };
        let raw = element.environment.raw_version;
        for item in element.nodes.into_iter().flatten().chain([element.environment]) {
            let row = StoredRow {
                source_version: item.source_version,
                raw_version: raw,
                fence: Fence(1),
                outline_version: item.outline_version,
                parent: item.parent().cloned(),
                env_name: None,
                status: None,
                flags: RowFlags::default(),
            };
            let rows = if item.parent().is_some() {
                &mut baseline.nodes
            } else {
                &mut baseline.environments
            };
            rows.insert(item.id, row);
        }
    });
    baseline
}
