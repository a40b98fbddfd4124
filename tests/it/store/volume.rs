//! What is written, and what readers see of it: nothing for equal rows,
//! exactly the changed ones, staged as inline, and never half of a sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vz_sync_actors::domain::Counts;
use vz_sync_actors::ports::store::{Applied, Store, Upsert, Upserts};
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, insert, update};

use super::{Ground, full, inline};

fn rows(
    count: u32,
    status: i32,
    as_row: fn(vz_sync_actors::domain::Item) -> Upsert,
) -> Vec<Upsert> {
    (0..count).map(|n| as_row(Environment::new(n, 0).with_status(status).item())).collect()
}

/// Rows inserted and updated in the mirror so far, by the server's own count.
async fn written(ground: &Ground) -> (i64, i64) {
    let sql = ground.sql().await;
    sql.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
    let counts = "SELECT sum(n_tup_ins)::int8, sum(n_tup_upd)::int8 FROM pg_stat_user_tables
                  WHERE relname IN ('environments', 'nodes') OR relname LIKE 'resource_changes%'";
    let row = sql.query_one(counts, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Sends the sessions' counts to the server, by ending the sessions.
async fn flush(ground: &Ground) {
    let sql = ground.sql().await;
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'vz-sync%'";
    sql.query(end, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_rows_are_not_written_and_changed_ones_exactly() {
    let ground = Ground::with_teams(&[1]).await;
    let key = environments_of(1);
    let lease = ground.lease(key, 1).await;
    ground.store.apply(&full(&lease, inline(rows(1000, 1, insert)))).await.unwrap();
    flush(&ground).await;
    assert_eq!(written(&ground).await, (1000, 0), "a first load writes no change rows");

    ground.due().await;
    let lease = ground.lease(key, 2).await;
    let mut unchanged = full(&lease, inline(Vec::new()));
    unchanged.counts = Counts { listed: 1000, unchanged: 1000, ..Counts::default() };
    ground.store.apply(&unchanged).await.unwrap();
    flush(&ground).await;
    assert_eq!(written(&ground).await, (1000, 0), "nothing was written");

    ground.due().await;
    let lease = ground.lease(key, 3).await;
    ground.store.apply(&full(&lease, inline(rows(10, 2, update)))).await.unwrap();
    flush(&ground).await;
    assert_eq!(written(&ground).await, (1010, 10), "ten rows and their ten change rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staged_rows_end_as_inline_ones_do() {
    let ground = Ground::with_teams(&[1, 2]).await;
    let row = |status: i32, as_row: fn(vz_sync_actors::domain::Item) -> Upsert| {
        let sites = (0..50).map(|n| Environment::new(n, 2).with_status(status));
        let mut upserts = Vec::new();
        for site in sites {
            upserts.push(as_row(site.item()));
            upserts.extend(site.node_items().into_iter().map(as_row));
        }
        upserts
    };
    for (round, status) in [(0, 1), (1, 2)] {
        ground.due().await;
        let claimed = ground.store.claim(&super::CLAIM).await.unwrap();
        let as_row = if round == 0 { insert } else { update };
        for team in [1, 2] {
            let key = environments_of(team);
            let job = claimed.iter().find(|entry| entry.key == key).unwrap().job;
            let run = round * 2 + team as u64;
            let lease = super::granted(ground.store.as_ref(), key, job, run).await;
            let mut apply = full(&lease, Upserts::Staged);
            if team == 1 {
                let (environments, nodes) = row(status, as_row)
                    .into_iter()
                    .partition(|row| row.item.data_type() == apply.tables[0].data_type);
                apply.tables[0].upserts = Upserts::Inline(environments);
                apply.tables[1].upserts = Upserts::Inline(nodes);
            } else {
                apply.tables[1].upserts = Upserts::Staged;
                // Each row twice, over several connections: the last form wins.
                ground.store.stage(&lease.name, row(9, as_row)).await.unwrap();
                let rows = row(status, as_row);
                let halves =
                    rows.chunks(80).map(|part| ground.store.stage(&lease.name, part.to_vec()));
                for staged in futures_util::future::join_all(halves).await {
                    staged.unwrap();
                }
            }
            let applied = ground.store.apply(&apply).await.unwrap();
            assert!(matches!(applied, Applied::Committed { .. }));
        }
    }
    let differing = "
        WITH env AS (SELECT to_jsonb(e) - 'team_id' - 'synced_at' - 'first_seen_at' AS row, team_id FROM environments e),
             node AS (SELECT to_jsonb(n) - 'team_id' - 'synced_at' - 'first_seen_at' AS row, team_id FROM nodes n),
             change AS (SELECT jsonb_build_array(data_type, external_id, op, patch, undo) AS row, team_id FROM resource_changes),
             every AS (SELECT * FROM env UNION ALL SELECT * FROM node UNION ALL SELECT * FROM change)
        SELECT count(*), count(*) FILTER (WHERE teams = 1) FROM (
            SELECT row, count(DISTINCT team_id) AS teams FROM every GROUP BY row) r";
    let row = ground.sql().await.query_one(differing, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (300, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_half_of_a_sync() {
    const SITES: u32 = 10_000;
    let ground = Ground::with_teams(&[1]).await;
    let key = environments_of(1);
    let done = Arc::new(AtomicBool::new(false));
    let (sql, over) = (ground.sql().await, Arc::clone(&done));
    let reader = tokio::spawn(async move {
        let (mut looks, mut seen) = (0, std::collections::BTreeSet::new());
        while !over.load(Ordering::Relaxed) {
            let look = "SELECT count(*), coalesce(min(status), 0), coalesce(max(status), 0) FROM environments WHERE team_id = 1";
            let row = sql.query_one(look, &[]).await.unwrap();
            let (count, least, most): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
            assert!(count == 0 || count == i64::from(SITES), "saw {count} rows");
            assert_eq!(least, most, "saw two listings at once");
            seen.insert(least);
            looks += 1;
        }
        (looks, seen)
    });
    for (run, status) in [(1, 1), (2, 2)] {
        ground.due().await;
        let lease = ground.lease(key, run).await;
        let as_row = if run == 1 { insert } else { update };
        let all = rows(SITES, status, as_row);
        for part in all.chunks(2500) {
            ground.store.stage(&lease.name, part.to_vec()).await.unwrap();
        }
        let applied = ground.store.apply(&full(&lease, Upserts::Staged)).await.unwrap();
        assert!(matches!(applied, Applied::Committed { .. }));
    }
    done.store(true, Ordering::Relaxed);
    let (looks, seen) = reader.await.unwrap();
    assert!(looks > 2 && seen.len() >= 2, "{looks} looks saw {seen:?}");
}
