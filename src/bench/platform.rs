//! The platform of a bench: the simulator in a process of its own, and orders to it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::child::Own;
use crate::simulator::{AccountSpec, StatsReport};

/// How many accounts of which size.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Accounts, each with a team.
    pub teams: usize,
    /// Environments of each.
    pub environments: usize,
    /// Nodes of each environment.
    pub nodes: usize,
}

impl Size {
    /// Environments of all teams.
    pub const fn environments(&self) -> usize {
        self.teams * self.environments
    }

    /// Nodes of all teams.
    pub const fn nodes(&self) -> usize {
        self.environments() * self.nodes
    }
}

/// A running simulator; it ends with this value.
pub struct Platform {
    url: String,
    http: reqwest::Client,
    own: Own,
}

impl Platform {
    /// Starts a simulator of realistic width.
    pub async fn start(size: Size) -> Result<Self> {
        let [teams, environments, nodes] =
            [size.teams, size.environments, size.nodes].map(|count| count.to_string());
        let args = [
            "simulate",
            "--wide",
            "--control",
            "--accounts",
            &teams,
            "--environments",
            &environments,
            "--nodes",
            &nodes,
        ];
        let (own, first) = Own::start(&args, &[]).await?;
        let url = first.strip_prefix("platform url").context("the simulator did not start")?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).build()?;
        let platform = Self { url: url.trim().to_owned(), http, own };
        platform.warm().await?;
        Ok(platform)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has cost so far, in CPU seconds.
    pub fn cpu_s(&self) -> f64 {
        self.own.cpu_s()
    }

    /// Renders what has changed, so that the next requests are served from memory.
    pub async fn warm(&self) -> Result<()> {
        self.order("warm", json!({})).await.map(drop)
    }

    /// What was asked of it since the last reset.
    pub async fn stats(&self) -> Result<StatsReport> {
        Ok(serde_json::from_slice(&self.ask(reqwest::Method::GET, "stats", None).await?)?)
    }

    /// Sets its counters to zero.
    pub async fn reset_stats(&self) -> Result<()> {
        self.ask(reqwest::Method::DELETE, "stats", None).await.map(drop)
    }

    /// Changes `count` environments of an account, each in the way `kind`; without an entry in
    /// the action history when `silent`.
    pub async fn mutate(&self, team: usize, count: usize, kind: &str, silent: bool) -> Result<()> {
        let order =
            json!({"account": uid(team), "count": count, "kinds": [kind], "silent": silent});
        self.order("mutate", order).await.map(drop)
    }

    /// Takes away the first `count` environments of an account without a word in the history.
    pub async fn lose(&self, team: usize, count: usize) -> Result<()> {
        let path = format!("world/{}", uid(team));
        let world: Value =
            serde_json::from_slice(&self.ask(reqwest::Method::GET, &path, None).await?)?;
        let names = world["names"].as_array().context("the simulator names no environments")?;
        for name in names.iter().take(count) {
            let order = json!({"account": uid(team), "env": name, "silent": true});
            self.order("delete", order).await?;
        }
        Ok(())
    }

    async fn order(&self, path: &str, body: Value) -> Result<Vec<u8>> {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Vec<u8>> {
        let mut request = self.http.request(method, format!("{}/control/{path}", self.url));
        if let Some(body) = body {
            request =
                request.header("content-type", "application/json").body(serde_json::to_vec(&body)?);
        }
        let answer = request.send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }
}

/// The account of a team, both counted from 1.
pub fn uid(team: usize) -> i64 {
    AccountSpec::numbered(team, 0, 0).uid
}
