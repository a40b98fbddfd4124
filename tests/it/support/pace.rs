//! Time that passes without anybody waiting for it: every stored time is moved into the past.

use std::time::Duration;

use tokio_postgres::Client;

use super::service::World;

/// Moves all times of a database but those of these tables.
pub async fn move_times(client: &Client, by: Duration, spared: &[&str]) {
    let columns = "
        SELECT c.oid::regclass::text AS table, string_agg(format('%1$I = %1$I - $$%2$s s$$::interval', a.attname, $1::text), ', ') AS moves
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid = 'timestamptz'::regtype AND a.attgenerated = ''
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> ALL ($2::text[])
        GROUP BY c.oid";
    let seconds = by.as_secs_f64().to_string();
    let rows = client.query(columns, &[&seconds, &spared]).await.unwrap();
    // Triggers would take a moved time for a change.
    let mut all = String::from("SET session_replication_role = replica;");
    for row in rows {
        let (table, moves): (String, String) = (row.get("table"), row.get("moves"));
        all.extend(["UPDATE ", &table, " SET ", &moves, ";"]);
    }
    all.push_str("RESET session_replication_role");
    client.batch_execute(&all).await.unwrap();
}

impl World {
    /// Lets time pass between two runs and wakes the scheduler. Whatever comes due by that is run.
    pub async fn pass(&self, by: Duration) {
        self.at_rest().await;
        // A replica must not look dead: its heart beats on.
        move_times(self.database(), by, &["replicas"]).await;
        self.sql("select pg_notify('vz_sync', 'due')", &[]).await;
    }

    /// Makes every answer older, and nothing else.
    pub async fn age(&self, by: Duration) {
        let seconds = by.as_secs_f64();
        for (table, time) in [
            ("vz_sync_data_types", "verified_at"),
            ("environments", "synced_at"),
            ("nodes", "synced_at"),
        ] {
            let query = format!("update {table} set {time} = {time} - make_interval(secs => $1)");
            self.sql(&query, &[&seconds]).await;
        }
    }

    /// Waits until nothing runs.
    pub async fn at_rest(&self) {
        let running = "select count(*) from vz_sync_states where lease_run is not null";
        self.until("nothing runs", async || self.number(running, &[]).await == 0).await;
    }

    /// The number of the scope's last lease.
    pub async fn fence(&self, scope: &str) -> i64 {
        let query = "select fence from vz_sync_states where team_id = 1 and scope = $1";
        self.number(query, &[&scope]).await
    }

    /// Waits until the scope was leased once more after this fence, and that run is over.
    pub async fn ran(&self, scope: &str, after: i64) {
        let query = "select count(*) from vz_sync_states where team_id = 1 and scope = $1
                     and fence > $2 and lease_run is null";
        let what = format!("a run of {scope} after {after}");
        self.until(&what, async || self.number(query, &[&scope, &after]).await == 1).await;
    }

    /// Asks until it is so. The database tells nobody what a test waits for.
    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let ask = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), ask).await;
        assert!(waited.is_ok(), "it did not come to be that {what}");
    }
}
