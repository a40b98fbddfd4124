//! `bench sse`: events to very many listeners.
//!
//! The service is a process of its own. Events enter as they do from any other replica: rows of
//! the outbox with a NOTIFY. The listeners share one thread of this process, whose CPU is not the
//! service's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Client;
use vz_sync_actors::domain::TeamId;

use super::Progress;
use super::ground::{Ground, connect, seed};
use super::latency::Latency;
use super::listeners::{self, Board, Place};
use super::machine::Machine;
use super::procfs;
use super::report::Report;
use super::server::Server;
use super::sync::at_least_one;
use crate::adapters::postgres::store::TELL;
use crate::config::Config;

/// How many listeners share a subject.
const PER_SUBJECT: usize = 1000;
/// How long the last events may take after they were published.
const TAIL: Duration = Duration::from_secs(20);

/// Measure event streams: deliveries per second, latency, CPU and memory of the service
///
/// Latency is from just before an event's INSERT to its bytes at the listener.
#[derive(Debug, Clone, Args)]
pub struct SseArgs {
    /// Listeners
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub clients: usize,
    /// Teams that they are spread over
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub teams: usize,
    /// Events per second of all teams
    #[arg(long, default_value_t = 200.0, value_name = "N")]
    pub rate: f64,
    /// How long events are published
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Server to make a scratch database in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
}

impl SseArgs {
    /// Runs it until done or until `stop`, of which `None` tells. Leaves nothing behind.
    pub async fn run(
        &self,
        config: &Config,
        progress: Progress<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Report>> {
        let events = self.rate * self.seconds;
        if !(1.0..=10_000_000.0).contains(&events) || self.rate <= 0.0 {
            bail!("--rate times --seconds must be 1 to 10,000,000 events");
        }
        raise_open_files(self.clients + 200)?;
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
        let database = ground.fresh().await?;
        let sql = connect(&database.config).await?;
        seed(&sql, self.teams).await?;
        // The commit is no part of what is measured here.
        sql.batch_execute("SET synchronous_commit = off").await?;
        let machine = Machine::look(Some(&sql)).await?;
        let most = (self.clients + 100).to_string();
        let server = Server::start(
            config,
            &ground.url(&database)?,
            &[
                ("VZ_SYNC_LIMITS__SSE_CLIENTS", &most),
                ("VZ_SYNC_LIMITS__SSE_CLIENTS_PER_SUBJECT", "10000"),
            ],
        )
        .await?;

        progress("opening the streams");
        let before = server.process().rss_mb();
        let per_team = ((self.rate * self.seconds) as usize).div_ceil(self.teams);
        let board = Arc::new(Board::new(self.teams, per_team));
        let listeners = listeners::open(server.address(), self.places(&server)?, &board).await?;
        let connected = server.process().rss_mb();

        progress("publishing");
        let (cpu, own) = (server.process().cpu_s(), procfs::own_cpu_s());
        let began = Instant::now();
        let published = self.publish(&sql, &board).await?;
        let expected = self.expected(published);
        let late = Instant::now() + TAIL;
        let mut look = interval(Duration::from_millis(20));
        while board.delivered() < expected && Instant::now() < late && listeners.open() > 0 {
            look.tick().await;
        }
        // Cannot be later than the last delivery by more than one look.
        let wall = board.last_delivery().unwrap_or_else(|| began.elapsed()).as_secs_f64();
        let (cpu, own) = (server.process().cpu_s() - cpu, procfs::own_cpu_s() - own);
        let after = server.process().rss_mb();
        let cut = self.clients - listeners.open();
        let (delivered, bytes) = (board.delivered(), board.bytes());
        let latency = Latency::of_micros(listeners.stop());
        let machine = machine.at_end();

        let count = delivered.max(1) as f64;
        let kib = |mb: f64| (mb - before) * 1e6 / 1024.0 / self.clients as f64;
        let text = format!(
            "{} listeners of {} teams, {} events at {:.0}/s\n{}\n\n\
             {:.0} deliveries/s of {:.0} bytes, {delivered} of {expected}, {cut} listeners cut off\n\
             {}\nCPU us/delivery: service {:.1}, listeners {:.1}; KiB/listener: {:.1} connected, {:.1} after the events\n",
            self.clients,
            self.teams,
            published,
            self.rate,
            machine.line(),
            delivered as f64 / wall,
            bytes as f64 / count,
            latency.text(),
            cpu * 1e6 / count,
            own * 1e6 / count,
            kib(connected),
            kib(after),
        );
        let json = json!({
            "bench": "sse", "clients": self.clients, "teams": self.teams,
            "events_per_s": self.rate, "events": published, "expected": expected,
            "delivered": delivered, "delivered_per_s": delivered as f64 / wall, "cut_off": cut,
            "event_bytes": bytes as f64 / count, "latency": latency, "wall_s": wall,
            "server_cpu_s": cpu, "server_cpu_us_per_delivery": cpu * 1e6 / count,
            "client_cpu_us_per_delivery": own * 1e6 / count,
            "kib_per_client_connected": kib(connected), "kib_per_client": kib(after),
            "machine": machine,
        });
        Ok(Report { json, text })
    }

    fn places(&self, server: &Server) -> Result<Vec<Place>> {
        (0..self.clients)
            .map(|number| {
                let team = number % self.teams;
                let subject = format!("listener-{}", number / PER_SUBJECT);
                let token = server.token(&subject, TeamId(team as i64 + 1))?;
                let request = format!(
                    "GET /api/v1/teams/{}/events HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\
                     authorization: Bearer {}\r\n\r\n",
                    team + 1,
                    token.expose_secret()
                );
                Ok(Place { team, request: request.into_bytes() })
            })
            .collect()
    }

    /// Publishes at the rate, to the teams in turn; answers how many events there were.
    async fn publish(&self, sql: &Client, board: &Board) -> Result<usize> {
        let tell = sql.prepare(TELL).await?;
        let body = json!({
            "job_id": 1, "scope": "environments", "mode": "full", "verified_at": "2026-01-01T00:00:00Z",
            "counts": {"listed": 20, "inserted": 0, "updated": 1, "unchanged": 99, "missing": 0,
                       "stale": 0, "returned": 0, "held": 0, "quarantined": 0, "shared": 0},
            "changed": [], "truncated": false,
        });
        let (kinds, jobs, scopes) = (["sync.completed"], [None::<i64>], ["environments"]);
        let (bodies, traces) = ([body], [None::<&str>]);
        let events = (self.rate * self.seconds) as usize;
        let mut beat = interval(Duration::from_secs_f64(1.0 / self.rate));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        board.start();
        let most = board.elapsed() + Duration::from_secs_f64(self.seconds);
        for number in 0..events {
            beat.tick().await;
            // A server that takes fewer is not asked for longer: its rate is told instead.
            if board.elapsed() > most {
                return Ok(number);
            }
            let (team, place) = (number % self.teams, number / self.teams);
            board.publishing(team, place);
            let row = sql
                .query_one(
                    &tell,
                    &[
                        &(team as i64 + 1),
                        &0_i64,
                        &kinds.as_slice(),
                        &jobs.as_slice(),
                        &scopes.as_slice(),
                        &bodies.as_slice(),
                        &traces.as_slice(),
                    ],
                )
                .await?;
            let first: i64 = row.get("first_event");
            if first != place as i64 + 1 {
                bail!("team {} has other events than the bench's", team + 1);
            }
        }
        Ok(events)
    }

    /// Deliveries of so many events to the listeners of their teams.
    fn expected(&self, events: usize) -> usize {
        let share =
            |all: usize, team: usize| all / self.teams + usize::from(team < all % self.teams);
        (0..self.teams).map(|team| share(events, team) * share(self.clients, team)).sum()
    }
}

/// Two processes hold a socket for each listener; both inherit the limit.
fn raise_open_files(need: usize) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("RLIMIT_NOFILE")?;
    if (hard as usize) < need {
        bail!("{need} open files are needed and {hard} allowed (ulimit -Hn)");
    }
    if (soft as usize) < need {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("RLIMIT_NOFILE")?;
    }
    Ok(())
}
