//! The databases that a bench works in: made for it and dropped after it.
//!
//! Without a URL there is a private, durable cluster in a temporary directory. With one, scratch
//! databases are made beside the one it names, whose own tables are never touched.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Client, Config as PgConfig, NoTls};

use crate::adapters::postgres::cluster::{Cluster, ClusterOptions};
use crate::boot::Database;

/// Where scratch databases are made. Not to be dropped in mid-work: a server of its own ends with
/// the process, but only the end of [`Ground::with`] removes what it wrote.
pub struct Ground {
    admin: PgConfig,
    given: Option<SecretString>,
    own: Option<(Cluster, Scratch)>,
    made: Vec<String>,
}

impl Ground {
    /// Uses the server that `url` names, or starts one.
    async fn open(url: Option<&SecretString>) -> Result<Self> {
        if let Some(url) = url {
            // The parser's errors name the offending option, never its value.
            let admin = PgConfig::from_str(url.expose_secret()).context("--database-url")?;
            return Ok(Self { admin, given: Some(url.clone()), own: None, made: Vec::new() });
        }
        let scratch = Scratch::new()?;
        let cluster = Cluster::open(ClusterOptions::new(scratch.0.join("pg"))).await?;
        let admin = cluster.config("postgres");
        Ok(Self { admin, given: None, own: Some((cluster, scratch)), made: Vec::new() })
    }

    /// Opens it, works in it until done or until `stop`, of which `None` tells, and closes it.
    pub async fn with<T>(
        url: Option<&SecretString>,
        stop: impl Future<Output = ()>,
        work: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut ground = Self::open(url).await?;
        let result = tokio::select! {
            result = work(&mut ground) => result.map(Some),
            () = stop => Ok(None),
        };
        ground.close().await?;
        result
    }

    /// A new database with the whole schema and nothing in it.
    pub async fn fresh(&mut self) -> Result<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vz_sync_bench_{}_{number}", std::process::id());
        let admin = connect(&self.admin).await?;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .context("a scratch database cannot be made: the user needs CREATEDB")?;
        self.made.push(name.clone());
        let mut config = self.admin.clone();
        config.dbname(&name);
        let database = Database { config, cluster: None };
        database.migrate().await?;
        // What was written to make the database is no part of what follows; without the right to
        // ask for a checkpoint the figures are only a little less even.
        let _ = admin.batch_execute("checkpoint").await;
        Ok(database)
    }

    /// The URL of a scratch database, for another process.
    pub fn url(&self, database: &Database) -> Result<SecretString> {
        let name = database.config.get_dbname().context("a scratch database has a name")?;
        if let Some((cluster, _)) = &self.own {
            return Ok(cluster.url(name).into());
        }
        let given = self.given.as_ref().context("there is neither a server nor a URL")?;
        Ok(renamed(given.expose_secret(), name).into())
    }

    /// Drops the databases made so far.
    pub async fn clear(&mut self) -> Result<()> {
        if self.made.is_empty() {
            return Ok(());
        }
        let admin = connect(&self.admin).await?;
        for name in self.made.drain(..) {
            let drop = format!("drop database if exists {name} with (force)");
            admin.batch_execute(&drop).await.with_context(|| format!("{name} stays behind"))?;
        }
        Ok(())
    }

    /// Removes everything.
    async fn close(mut self) -> Result<()> {
        match self.own.take() {
            Some((cluster, scratch)) => {
                cluster.stop().await?;
                drop(scratch);
                Ok(())
            }
            None => self.clear().await,
        }
    }
}

/// Connects; the connection ends with the client.
pub async fn connect(config: &PgConfig) -> Result<Client> {
    let (client, connection) =
        config.connect(NoTls).await.context("the database cannot be reached")?;
    tokio::spawn(connection);
    Ok(client)
}

/// The same settings with another database: what comes last wins, in both forms of them.
fn renamed(settings: &str, name: &str) -> String {
    match (settings.contains("://"), settings.contains('?')) {
        (true, true) => format!("{settings}&dbname={name}"),
        (true, false) => format!("{settings}?dbname={name}"),
        (false, _) => format!("{settings} dbname={name}"),
    }
}

/// Adds `teams` teams that nothing was mirrored of, with keys that open nothing.
pub async fn seed(sql: &Client, teams: usize) -> Result<()> {
    sql.batch_execute(include_str!("sql/seed.sql")).await?;
    sql.execute("SELECT pg_temp.bench_seed($1)", &[&(teams as i64)]).await?;
    sql.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}

/// A directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("vz-sync-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(dir: &Path) {
    if let Ok(sockets) = Cluster::socket_dir_of(&dir.join("pg")) {
        let _ = std::fs::remove_dir(sockets);
    }
    let _ = std::fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_database_is_reached_like_the_given_one() {
        for given in [
            "postgres://me:word@db.example:5433/prod",
            "postgresql://me@/prod?host=/run/pg",
            "postgres://me@db.example",
            "host=db.example user=me dbname=prod",
        ] {
            let before: PgConfig = given.parse().unwrap();
            let after: PgConfig = renamed(given, "scratch").parse().unwrap();
            assert_eq!(after.get_dbname(), Some("scratch"), "{given}");
            assert_eq!(after.get_hosts(), before.get_hosts(), "{given}");
            assert_eq!(after.get_user(), Some("me"), "{given}");
        }
    }
}
