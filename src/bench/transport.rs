//! `bench platform`: how fast the simulator answers, so that no other figure is its limit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::Progress;
use super::machine::Machine;
use super::platform::{Platform, Size};
use super::procfs;
use super::report::Report;
use super::sync::at_least_one;
use super::wire::{Line, address};
use crate::simulator::{DEFAULT_TOKEN_TEMPLATE, numbered_token};

/// Measure how fast the simulator serves unchanged listings
///
/// Connections take turns through the accounts and throw the answers away.
#[derive(Debug, Clone, Args)]
pub struct PlatformArgs {
    /// Accounts
    #[arg(long, default_value_t = 200, value_parser = at_least_one)]
    pub teams: usize,
    /// Environments of each account
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    pub envs: usize,
    /// Nodes of each environment
    #[arg(long, default_value_t = 4)]
    pub nodes: usize,
    /// Connections at once
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub connections: usize,
    /// How long
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    pub seconds: f64,
}

impl PlatformArgs {
    /// Runs it until done or until `stop`, of which `None` tells.
    pub async fn run(
        &self,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        tokio::select! {
            result = self.measure(progress) => result.map(Some),
            () = stop => Ok(None),
        }
    }

    async fn measure(&self, progress: Progress<'_>) -> Result<Report> {
        progress("rendering the platform's listings");
        let size = Size { teams: self.teams, environments: self.envs, nodes: self.nodes };
        let machine = Machine::look(None).await?;
        let platform = Platform::start(size).await?;
        platform.reset_stats().await?;
        progress("reading them");
        let length = Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0));
        let (cpu, own) = (platform.cpu_s(), procfs::own_cpu_s());
        let began = Instant::now();
        let address = address(platform.url())?;
        let readers = (0..self.connections).map(|place| {
            let teams = self.teams;
            tokio::spawn(async move {
                let mut line = Line::open(address).await?;
                let mut bytes = 0_u64;
                let mut team = place % teams;
                while began.elapsed() < length {
                    let answer = line.ask(&request(team + 1), None).await?;
                    if answer.status != 200 {
                        bail!("the simulator answered {}", answer.status);
                    }
                    bytes += answer.bytes as u64;
                    team = (team + 1) % teams;
                }
                Ok(bytes)
            })
        });
        let mut bytes = 0;
        for reader in readers.collect::<Vec<_>>() {
            bytes += reader.await??;
        }
        let wall = began.elapsed().as_secs_f64();
        let (cpu, own) = (platform.cpu_s() - cpu, procfs::own_cpu_s() - own);
        let requests = platform.stats().await?.requests;
        let mb = bytes as f64 / 1e6;
        let machine = machine.at_end();
        let text = format!(
            "{} accounts x {} environments x {} nodes, {} connections\n{}\n\n\
             {:.0} MB/s, {:.0} requests/s of {:.1} kB; CPU: simulator {:.2} s, reader {:.2} s in {wall:.2} s\n",
            self.teams,
            self.envs,
            self.nodes,
            self.connections,
            machine.line(),
            mb / wall,
            requests as f64 / wall,
            mb * 1e3 / requests as f64,
            cpu,
            own,
        );
        let json = json!({
            "bench": "platform", "mb_per_s": mb / wall, "requests_per_s": requests as f64 / wall,
            "bytes": bytes, "wall_s": wall, "platform_cpu_s": cpu, "client_cpu_s": own,
            "parameters": {
                "teams": self.teams, "environments": self.envs, "nodes": self.nodes,
                "connections": self.connections,
            },
            "machine": machine,
        });
        Ok(Report { json, text })
    }
}

fn request(account: usize) -> Vec<u8> {
    let form = format!("session={}", numbered_token(DEFAULT_TOKEN_TEMPLATE, account));
    format!(
        "POST /1.0/environment/control/rest/getbasicenvsinfo HTTP/1.1\r\nhost: platform\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}
