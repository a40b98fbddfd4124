//! `bench claim`: the scheduler's claim among very many states.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::Progress;
use super::ground::{Ground, connect, seed};
use super::latency::{Latency, micros};
use super::machine::Machine;
use super::report::Report;
use super::sync::at_least_one;
use crate::adapters::postgres::store::CLAIM_DUE;
use crate::boot::Prepared;
use crate::config::Config;

const DUE_AMONG: &str = include_str!("sql/due_among.sql");
const UNCLAIM: &str = include_str!("sql/unclaim.sql");
/// Scopes of a team.
const SCOPES: usize = 3;

/// Measure the claim of due states among many
///
/// Each round makes other states due, claims them through the store, and puts all back. The plan
/// of the claim is told too: it must read nothing but the partial indexes.
#[derive(Debug, Clone, Args)]
pub struct ClaimArgs {
    /// States in all, three to a team
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    pub states: usize,
    /// Of these, states that are due
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub due: usize,
    /// Rounds
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub rounds: usize,
    /// Server to make a scratch database in; without it a private one in a temporary directory
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
}

impl ClaimArgs {
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
        progress("making the states");
        let database = ground.fresh().await?;
        let prepared = Prepared::over(config, &database).await?;
        let sql = connect(&database.config).await?;
        let teams = self.states.div_ceil(SCOPES);
        seed(&sql, teams).await?;
        let machine = Machine::look(Some(&sql)).await?;
        let store = &prepared.adapters.ports.store;
        let mut times = Vec::with_capacity(self.rounds);
        for round in 0..self.rounds {
            progress(&format!("round {round} of {}", self.rounds));
            sql.execute(DUE_AMONG, &[&(self.due as i64), &(round as i64)]).await?;
            let began = Instant::now();
            let claimed = store.claim(self.due as u32, Duration::from_secs(60)).await?.len();
            times.push(micros(began.elapsed()));
            if claimed != self.due {
                bail!("{claimed} of {} due states were claimed", self.due);
            }
            sql.execute(UNCLAIM, &[]).await?;
        }
        sql.execute(DUE_AMONG, &[&(self.due as i64), &-1_i64]).await?;
        let scans = scans(&sql, self.due).await?;
        prepared.adapters.pools.close();

        let latency = Latency::of_micros(times);
        let machine = machine.at_end();
        let names: Vec<String> =
            scans.iter().map(|scan| format!("{} {}", scan.kind, scan.index)).collect();
        let text = format!(
            "claim of {} due of {} states\n{}\n\n{}\nplan: {}\n",
            self.due,
            teams * SCOPES,
            machine.line(),
            latency.text(),
            names.join(", "),
        );
        let json = json!({
            "bench": "claim", "latency": latency,
            "scans": scans.iter().map(|scan| json!({"kind": scan.kind, "index": scan.index, "rows": scan.rows})).collect::<Vec<_>>(),
            "parameters": {"states": teams * SCOPES, "due": self.due, "rounds": self.rounds},
            "machine": machine,
        });
        Ok(Report { json, text })
    }
}

/// One scan of the table of states.
struct Scan {
    kind: String,
    index: String,
    rows: f64,
}

/// How the claim reads the states: the plan that a prepared statement ends up with.
async fn scans(sql: &Client, due: usize) -> Result<Vec<Scan>> {
    sql.batch_execute(&format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE claim (int8, float8) AS {CLAIM_DUE}"
    ))
    .await?;
    let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE claim ({due}, 60)");
    let plan: Value = sql.query_one(&explain, &[]).await?.get(0);
    let mut found = Vec::new();
    collect(&plan[0]["Plan"], &mut found);
    Ok(found)
}

fn collect(node: &Value, found: &mut Vec<Scan>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| node[key].as_f64().unwrap_or_default();
    let kind = text("Node Type");
    if text("Relation Name") == "vz_sync_states" && kind.ends_with("Scan") {
        let rows =
            (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        found.push(Scan { kind, index: text("Index Name"), rows });
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, found);
    }
}
