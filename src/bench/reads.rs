//! `bench reads`: pages of environments over HTTP, at a steady rate.
//!
//! Requests are due at fixed times, and each counts from the time it was due: a server that falls
//! behind cannot hide it by being asked later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{interval, sleep_until};
use tokio_postgres::Client;
use vz_sync_actors::domain::TeamId;

use super::Progress;
use super::ground::{Ground, connect};
use super::latency::{Latency, micros};
use super::machine::Machine;
use super::members::Member;
use super::platform::{Platform, Size};
use super::report::Report;
use super::rig::{MAKE_DUE, Rig, Work};
use super::server::Server;
use super::sync::at_least_one;
use super::wire::Line;
use crate::config::Config;

/// Measure reads of pages of environments
///
/// A team is loaded first; then its pages are read in a scattered order, once as they are and once
/// with the entity tag of the answer before.
#[derive(Debug, Clone, Args)]
pub struct ReadsArgs {
    /// Environments of the team
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    pub envs: usize,
    /// Nodes of each environment
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Environments of a page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub page: u32,
    /// Requests per second
    #[arg(long, default_value_t = 1000.0, value_name = "N")]
    pub rate: f64,
    /// How long each pass takes
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Connections
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    pub connections: usize,
    /// One more pass while the team is synchronised again and again
    #[arg(long)]
    pub while_syncing: bool,
    /// Server to make a scratch database in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
}

/// What a pass found.
#[derive(Debug, Serialize)]
struct Pass {
    name: &'static str,
    latency: Latency,
    per_s: f64,
    answer_bytes: f64,
    not_modified: usize,
    server_cpu_us: f64,
    /// Runs of the team that ended meanwhile.
    syncs: i64,
}

/// A request and the tag of its answer.
struct Page {
    plain: Vec<u8>,
    tagged: Vec<u8>,
}

impl ReadsArgs {
    /// Runs it until done or until `stop`, of which `None` tells. Leaves nothing behind.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        let requests = self.rate * self.seconds;
        if !(1.0..=100_000_000.0).contains(&requests) || self.rate <= 0.0 {
            bail!("--rate times --seconds must be 1 to 100,000,000 requests");
        }
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
        progress("loading the team");
        let database = ground.fresh().await?;
        let size = Size { teams: 1, environments: self.envs, nodes: self.nodes };
        let platform = Platform::start(size).await?;
        let members = vec![Member::simulated(1)];
        let rig = Rig::start(config, &database, platform.url(), members).await?;
        rig.phase(Work::Full).await?;
        rig.stop().await;
        let sql = connect(&database.config).await?;
        sql.batch_execute("VACUUM ANALYZE").await?;
        let machine = Machine::look(Some(&sql)).await?;
        let settings = [("ENABLE_VZ_SYNC_PIPELINE", "true")];
        let server = Server::start(config, &ground.url(&database)?, &settings).await?;
        let pages = Arc::new(self.pages(&server).await?);

        let mut passes = Vec::new();
        progress("reading");
        passes.push(self.pass("200", &server, &pages, false).await?);
        progress("reading with entity tags");
        passes.push(self.pass("304", &server, &pages, true).await?);
        if self.while_syncing {
            progress("reading while the team is synchronised");
            let before = ended_jobs(&sql).await?;
            let pass = tokio::select! {
                pass = self.pass("200 while syncing", &server, &pages, false) => pass,
                error = keep_syncing(&sql, &platform, self.envs) => Err(error),
            };
            passes.push(Pass { syncs: ended_jobs(&sql).await? - before, ..pass? });
        }

        let machine = machine.at_end();
        let mut text = format!(
            "pages of {} of {} environments, {:.0} requests/s over {} connections\n{}\n\n",
            self.page,
            self.envs,
            self.rate,
            self.connections,
            machine.line(),
        );
        for pass in &passes {
            text += &format!(
                "{:<18} {}; {:.0}/s of {:.1} kB, {} not modified; service: {:.0} CPU us each{}\n",
                pass.name,
                pass.latency.text(),
                pass.per_s,
                pass.answer_bytes / 1e3,
                pass.not_modified,
                pass.server_cpu_us,
                if pass.syncs > 0 { format!("; {} runs", pass.syncs) } else { String::new() },
            );
        }
        let json = json!({
            "bench": "reads", "reads": passes,
            "parameters": {
                "environments": self.envs, "nodes": self.nodes, "page": self.page,
                "rate": self.rate, "seconds": self.seconds, "connections": self.connections,
            },
            "machine": machine,
        });
        Ok(Report { json, text })
    }

    /// Every page of the listing, found by following it once.
    async fn pages(&self, server: &Server) -> Result<Vec<Page>> {
        let token = server.token("reader", TeamId(1))?;
        let mut line = Line::open(server.address()).await?;
        let mut cursor = String::new();
        let mut pages = Vec::new();
        loop {
            let head = format!(
                "GET /api/v1/teams/1/environments?limit={}{cursor} HTTP/1.1\r\nhost: bench\r\n\
                 authorization: Bearer {}\r\n",
                self.page,
                token.expose_secret()
            );
            let plain = format!("{head}\r\n").into_bytes();
            let mut body = Vec::new();
            let answer = line.ask(&plain, Some(&mut body)).await?;
            if answer.status != 200 {
                bail!("the service answered {}: {}", answer.status, String::from_utf8_lossy(&body));
            }
            let tag = answer.etag.context("a page has no entity tag")?;
            let tagged = format!("{head}if-none-match: {tag}\r\n\r\n").into_bytes();
            pages.push(Page { plain, tagged });
            let body: Value = serde_json::from_slice(&body)?;
            match body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(pages),
            }
        }
    }

    async fn pass(
        &self,
        name: &'static str,
        server: &Server,
        pages: &Arc<Vec<Page>>,
        tagged: bool,
    ) -> Result<Pass> {
        let requests = (self.rate * self.seconds) as usize;
        let mut lines = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            lines.push(Line::open(server.address()).await?);
        }
        let cpu = server.process().cpu_s();
        let (began, every) = (Instant::now(), 1.0 / self.rate);
        let count = self.connections;
        let readers = lines.into_iter().enumerate().map(|(place, mut line)| {
            let pages = Arc::clone(pages);
            tokio::spawn(async move {
                let (mut times, mut bytes, mut not_modified) = (Vec::new(), 0_usize, 0_usize);
                for number in (place..requests).step_by(count) {
                    let due = began + Duration::from_secs_f64(number as f64 * every);
                    sleep_until(due.into()).await;
                    // A prime step scatters neighbouring requests over the listing.
                    let page = &pages[number * 7919 % pages.len()];
                    let request = if tagged { &page.tagged } else { &page.plain };
                    let answer = line.ask(request, None).await?;
                    match answer.status {
                        200 => {}
                        304 => not_modified += 1,
                        status => bail!("the service answered {status}"),
                    }
                    bytes += answer.bytes;
                    times.push(micros(due.elapsed()));
                }
                Ok((times, bytes, not_modified))
            })
        });
        let (mut times, mut bytes, mut not_modified) = (Vec::new(), 0, 0);
        for reader in readers.collect::<Vec<_>>() {
            let (more, read, same) = reader.await??;
            times.extend(more);
            bytes += read;
            not_modified += same;
        }
        let wall = began.elapsed().as_secs_f64();
        let cpu = server.process().cpu_s() - cpu;
        Ok(Pass {
            name,
            latency: Latency::of_micros(times),
            per_s: requests as f64 / wall,
            answer_bytes: bytes as f64 / requests as f64,
            not_modified,
            server_cpu_us: cpu * 1e6 / requests as f64,
            syncs: 0,
        })
    }
}

async fn ended_jobs(sql: &Client) -> Result<i64> {
    let ended = "SELECT count(*) FROM vz_sync_jobs WHERE state = 'succeeded'";
    Ok(sql.query_one(ended, &[]).await?.get(0))
}

/// Changes 1 % of the environments and makes the team due, again and again. Ends only with an
/// error.
async fn keep_syncing(sql: &Client, platform: &Platform, environments: usize) -> anyhow::Error {
    loop {
        if let Err(error) = sync_once(sql, platform, environments).await {
            return error;
        }
    }
}

async fn sync_once(sql: &Client, platform: &Platform, environments: usize) -> Result<()> {
    let before = ended_jobs(sql).await?;
    platform.mutate(1, environments.div_ceil(100), "rename", true).await?;
    sql.execute(MAKE_DUE, &[&true]).await?;
    sql.batch_execute("NOTIFY vz_sync, 'due'").await?;
    let mut look = interval(Duration::from_millis(50));
    while ended_jobs(sql).await? == before {
        look.tick().await;
    }
    Ok(())
}
