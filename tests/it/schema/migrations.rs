//! Up, down, and up again; many at once; behind a lock; and a comment on everything.

use super::catalog::dump;
use crate::support::postgres::TestDatabase;
use vz_sync::adapters::postgres::migrate::{self, MigrateError};

/// The versions that this binary has.
async fn known(client: &tokio_postgres::Client) -> Vec<i32> {
    let all = migrate::status(client).await.unwrap();
    all.iter().filter(|status| status.known).map(|status| status.version).collect()
}

#[tokio::test]
async fn down_to_nothing_and_up_again_gives_the_same_schema() {
    let database = TestDatabase::migrated().await;
    let mut client = database.client().await;
    let first = dump(&client).await;
    assert!(first.iter().any(|line| line.contains("vz_sync_states")));

    let known = known(&client).await;
    let downs = migrate::down(&mut client, 0).await.unwrap();
    assert_eq!(downs, known.iter().rev().copied().collect::<Vec<_>>());
    let rest = dump(&client).await;
    assert!(
        rest.iter().all(|line| line.contains("refinery_schema_history")),
        "left behind: {rest:#?}"
    );

    let report = migrate::up(&mut client).await.unwrap();
    assert_eq!(report.applied, known);
    assert_eq!(dump(&client).await, first);
}

#[tokio::test]
async fn each_single_step_can_be_taken_back() {
    let database = TestDatabase::migrated().await;
    let mut client = database.client().await;
    let whole = dump(&client).await;
    let below_each = [vec![0], known(&client).await].concat();
    for version in below_each.into_iter().rev().skip(1) {
        migrate::down(&mut client, version).await.unwrap();
        let below = dump(&client).await;
        assert_ne!(below, whole);
        migrate::up(&mut client).await.unwrap();
        assert_eq!(dump(&client).await, whole, "after a return to version {version}");
    }
}

#[tokio::test]
async fn replicas_starting_together_migrate_once() {
    let database = TestDatabase::empty().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(database.client().await);
    }
    let ups = clients.iter_mut().map(migrate::up);
    let reports = futures_util::future::join_all(ups).await;
    let applied: usize = reports.into_iter().map(|report| report.unwrap().applied.len()).sum();
    assert_eq!(applied, known(&clients[0]).await.len());
}

#[tokio::test]
async fn status_tells_pending_applied_and_foreign() {
    let database = TestDatabase::empty().await;
    let mut client = database.client().await;
    let pending = migrate::status(&client).await.unwrap();
    assert!(pending.iter().all(|status| status.known && status.applied_at.is_none()));
    assert_eq!(pending.last().map(|status| status.version), Some(migrate::latest()));

    migrate::up(&mut client).await.unwrap();
    let applied = migrate::status(&client).await.unwrap();
    assert!(applied.iter().all(|status| status.applied_at.is_some()));

    let newer =
        "INSERT INTO refinery_schema_history VALUES (999, 'newer', '2026-01-01T00:00:00Z', '1')";
    client.execute(newer, &[]).await.unwrap();
    assert!(!migrate::status(&client).await.unwrap().last().unwrap().known);
    assert_eq!(migrate::up(&mut client).await.unwrap().ahead, Some(999));
    let refused = migrate::down(&mut client, 0).await;
    assert!(matches!(refused, Err(MigrateError::Unknown { version: 999 })), "{refused:?}");
}

#[tokio::test]
async fn a_long_reader_delays_a_migration_without_blocking_others() {
    let database = TestDatabase::migrated().await;
    let mut client = database.client().await;
    let mut reader = database.client().await;
    let watcher = database.client().await;
    let reading = reader.transaction().await.unwrap();
    reading.query("SELECT * FROM teams", &[]).await.unwrap();

    let going = tokio::spawn(async move { migrate::down(&mut client, 0).await });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'
                                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    let waiting = async |wanted: bool| {
        while watcher.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) != wanted {}
    };
    waiting(true).await;
    // The first try gives up by itself and leaves the queue, so readers behind it go on.
    waiting(false).await;
    assert!(!going.is_finished());
    reading.commit().await.unwrap();
    assert_eq!(going.await.unwrap().unwrap().len(), known(&watcher).await.len());
}

#[tokio::test]
async fn every_table_and_column_is_commented() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let missing = "
        SELECT c.oid::regclass::text || coalesce('.' || a.attname, '')
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'vz_api')
        LEFT JOIN LATERAL (SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                           UNION ALL SELECT NULL, 0) a ON true
        WHERE c.relkind IN ('r', 'p', 'v')
          AND NOT EXISTS (SELECT FROM pg_description d WHERE d.classoid = 'pg_class'::regclass
                          AND d.objoid = c.oid AND d.objsubid = a.attnum AND d.description <> '')
        ORDER BY 1";
    let found = |rows: Vec<tokio_postgres::Row>| {
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    assert_eq!(found(client.query(missing, &[]).await.unwrap()), Vec::<String>::new());
    // The control: the check sees what is not there.
    client
        .batch_execute("COMMENT ON COLUMN teams.name IS NULL; CREATE TABLE bare (x int)")
        .await
        .unwrap();
    assert_eq!(found(client.query(missing, &[]).await.unwrap()), ["bare", "bare.x", "teams.name"]);
}

#[tokio::test]
async fn change_partitions_are_made_ahead_and_dropped_behind() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let ensure = "SELECT * FROM vz_ensure_change_partitions($1::text::timestamptz)";
    assert_eq!(client.query("SELECT vz_ensure_change_partitions()", &[]).await.unwrap().len(), 0);

    // A row whose month has no partition yet is kept, and moves when the partition comes.
    let change = "INSERT INTO resource_changes VALUES (1, 1, 1, 'nodes', '7', 'added', NULL, NULL, 1, '2031-05-31T23:30:00Z')";
    client.execute(change, &[]).await.unwrap();
    let place = async || -> String {
        let row = client
            .query_one("SELECT tableoid::regclass::text FROM resource_changes", &[])
            .await
            .unwrap();
        row.get(0)
    };
    assert_eq!(place().await, "resource_changes_default");
    assert_eq!(client.query(ensure, &[&"2031-05-02T00:00:00Z"]).await.unwrap().len(), 3);
    assert_eq!(place().await, "resource_changes_2031_05");

    let drop = "SELECT * FROM vz_drop_change_partitions($1::text::timestamptz)";
    let dropped = client.query(drop, &[&"2031-06-30T23:59:59Z"]).await.unwrap();
    let last: String = dropped.last().unwrap().get(0);
    assert_eq!(last, "resource_changes_2031_05");
}
