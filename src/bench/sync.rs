//! `bench sync`: what a synchronisation costs, from an empty mirror to a delta.

use anyhow::{Result, bail};
use clap::Args;
use secrecy::SecretString;
use serde_json::json;

use super::Progress;
use super::ground::{Ground, connect};
use super::machine::Machine;
use super::members::Member;
use super::platform::{Platform, Size};
use super::report::{Asked, Phase, Report, of_phases};
use super::rig::{Rig, Work};
use crate::boot::Database;
use crate::config::Config;

/// Measure full and delta runs against the simulator
///
/// Phases, each over all teams at once: `first` into an empty mirror; `unchanged` reads the same
/// listings again; `changed` after 1 % of the environments and 1 % of the nodes have changed and
/// 0.1 % of the environments have gone; `delta` after 0.1 % more have changed. The engine is the
/// service's own with its embedded queue, lock and buses, without HTTP; the simulator runs in a
/// process of its own. Request limits are lifted.
#[derive(Debug, Clone, Args)]
pub struct SyncArgs {
    /// Teams, each with an account of its own
    #[arg(long, default_value_t = 200, value_parser = at_least_one)]
    pub teams: usize,
    /// Environments of each team
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    pub envs: usize,
    /// Nodes of each environment
    #[arg(long, default_value_t = 4)]
    pub nodes: usize,
    /// Runs from the beginning, of which medians are told
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    pub runs: usize,
    /// Server to make scratch databases in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// Requests per second to the platform; without it there is no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub platform_rate: Option<u32>,
}

/// For counts on the command line.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "must be 1 or more".into())
}

impl SyncArgs {
    const fn size(&self) -> Size {
        Size { teams: self.teams, environments: self.envs, nodes: self.nodes }
    }

    /// Runs it until done or until `stop`, of which `None` tells. Leaves nothing behind.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        progress("starting the database");
        Ground::with(self.database_url.as_ref(), stop, async |ground| {
            self.measure(config, ground, progress).await
        })
        .await
    }

    async fn measure(
        &self,
        config: &Config,
        ground: &mut Ground,
        progress: Progress<'_>,
    ) -> Result<Report> {
        let mut runs = Vec::with_capacity(self.runs);
        let mut machine = None;
        for run in 1..=self.runs {
            let at = |what: &str| progress(&format!("run {run} of {}: {what}", self.runs));
            at("making platform, database and teams");
            let database = ground.fresh().await?;
            if machine.is_none() {
                machine = Some(Machine::look(Some(&connect(&database.config).await?)).await?);
            }
            runs.push(self.once(config, &database, &at).await?);
            ground.clear().await?;
        }
        let Some(machine) = machine else { bail!("there was no run") };
        let title = format!(
            "{} teams x {} environments x {} nodes, medians of {}",
            self.teams, self.envs, self.nodes, self.runs
        );
        let parameters = json!({
            "teams": self.teams, "environments": self.envs, "nodes": self.nodes,
            "runs": self.runs, "platform_rate": self.platform_rate,
            "permits": config.limits.max_parallel_jobs,
        });
        Ok(of_phases("sync", &title, parameters, &runs, machine))
    }

    /// All phases once, on a platform and a database of their own.
    async fn once(
        &self,
        config: &Config,
        database: &Database,
        at: Progress<'_>,
    ) -> Result<Vec<Phase>> {
        let size = self.size();
        let platform = Platform::start(size).await?;
        let members = (1..=self.teams).map(Member::simulated);
        let rig = Rig::start(config, database, platform.url(), members.collect()).await?;
        let mut phases = Vec::with_capacity(4);

        at("first");
        phases.push(phase(&rig, &platform, "first", Work::Full).await?);
        at("unchanged");
        phases.push(phase(&rig, &platform, "unchanged", Work::Full).await?);

        at("changing the platform");
        // No word in the history: what the next phase finds, the delta after it need not ask for.
        spread(size.environments().div_ceil(100), self.teams, async |team, count| {
            platform.mutate(team, count, "rename", true).await
        })
        .await?;
        spread(size.nodes().div_ceil(100), self.teams, async |team, count| {
            platform.mutate(team, count, "cloudlets", true).await
        })
        .await?;
        spread(size.environments().div_ceil(1000), self.teams, async |team, count| {
            platform.lose(team, count).await
        })
        .await?;
        platform.warm().await?;
        at("changed");
        phases.push(phase(&rig, &platform, "changed", Work::Full).await?);

        at("changing the platform");
        spread(size.environments().div_ceil(1000), self.teams, async |team, count| {
            platform.mutate(team, count, "rename", false).await
        })
        .await?;
        platform.warm().await?;
        at("delta");
        phases.push(phase(&rig, &platform, "delta", Work::Delta).await?);

        rig.stop().await;
        Ok(phases)
    }
}

async fn phase(rig: &Rig, platform: &Platform, name: &'static str, work: Work) -> Result<Phase> {
    let before = rig.live_items().await?;
    platform.reset_stats().await?;
    let cpu = platform.cpu_s();
    let (used, done) = rig.phase(work).await?;
    let stats = platform.stats().await?;
    let asked = Asked {
        platform_cpu_s: platform.cpu_s() - cpu,
        platform_requests: stats.requests,
        platform_bytes: stats.bytes_out,
    };
    let items = rig.live_items().await?.max(before);
    Ok(Phase::new(name, items, used, Some(asked), done))
}

/// Deals `total` out to teams that lie as far apart as they can.
async fn spread(
    total: usize,
    teams: usize,
    deal: impl AsyncFn(usize, usize) -> Result<()>,
) -> Result<()> {
    for (team, count) in shares(total, teams) {
        deal(team, count).await?;
    }
    Ok(())
}

/// Numbers of teams, counted from 1, with what each of them gets.
fn shares(total: usize, teams: usize) -> Vec<(usize, usize)> {
    let upto = |team: usize| total * team / teams;
    (1..=teams)
        .map(|team| (team, upto(team) - upto(team - 1)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_lie_apart() {
        assert_eq!(shares(2, 4), [(2, 1), (4, 1)]);
        assert_eq!(shares(40, 200).len(), 40);
        assert_eq!(shares(7, 3).iter().map(|(_, count)| count).sum::<usize>(), 7);
        assert_eq!(shares(300, 1), [(1, 300)]);
    }
}
