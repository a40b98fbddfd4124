//! Taking and freeing leases: the real lock of the pipeline.

use super::seed;
use crate::support::postgres::TestDatabase;
use tokio_postgres::Client;
use uuid::Uuid;

const CLAIM: &str = include_str!("../../../src/adapters/postgres/sql/claim_due.sql");
const TAKE: &str = include_str!("../../../src/adapters/postgres/sql/take_lease.sql");
const FREE: &str = include_str!("../../../src/adapters/postgres/sql/free_leases.sql");

async fn replica(client: &Client) -> Uuid {
    let id = Uuid::new_v4();
    client
        .execute(
            "INSERT INTO replicas (boot_id, host, version, permits) VALUES ($1, 'here', '0', 5)",
            &[&id],
        )
        .await
        .unwrap();
    id
}

async fn environments_job(client: &Client) -> i64 {
    let rows = client.query(CLAIM, &[&10_i64, &60.0_f64]).await.unwrap();
    rows.iter().find(|row| row.get::<_, &str>("scope") == "environments").unwrap().get("id")
}

/// Takes the lease of team 1's environments: the new fence and attempt, or nothing.
async fn take(client: &Client, job: i64, owner: Uuid) -> Option<(i64, i32)> {
    let run = Uuid::new_v4();
    let row = client
        .query_opt(
            TAKE,
            &[
                &1_i64,
                &"environments",
                &job,
                &owner,
                &run,
                &180.0_f64,
                &15.0_f64,
                &30.0_f64,
                &5_i32,
            ],
        )
        .await
        .unwrap()?;
    let granted = row.get::<_, &str>("verdict") == "granted";
    granted.then(|| (row.get("fence"), row.get("attempt")))
}

async fn free(client: &Client) -> usize {
    client.query(FREE, &[&15.0_f64]).await.unwrap().len()
}

async fn job_state(client: &Client, job: i64) -> (String, Option<i64>) {
    let row = client
        .query_one("SELECT state, satisfied_by_job_id FROM vz_sync_jobs WHERE id = $1", &[&job])
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn one_of_many_takers_wins_and_a_repeat_finds_nothing() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    let owner = replica(&client).await;
    let job = environments_job(&client).await;
    let mut takers = Vec::new();
    for _ in 0..8 {
        takers.push(database.client().await);
    }
    let taken = futures_util::future::join_all(takers.iter().map(|c| take(c, job, owner))).await;
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!(free(&client).await, 0, "a live lease is left alone");
}

#[tokio::test]
async fn a_dead_owners_job_is_given_back_and_counts_as_an_attempt() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    let (dead, alive) = (replica(&client).await, replica(&client).await);
    let job = environments_job(&client).await;
    take(&client, job, dead).await.unwrap();
    let late = "UPDATE replicas SET heartbeat_at = now() - interval '16 s' WHERE boot_id = $1";
    client.execute(late, &[&dead]).await.unwrap();

    assert_eq!(free(&client).await, 1);
    assert_eq!(job_state(&client, job).await, ("queued".to_owned(), None));
    assert_eq!(environments_job(&client).await, job, "due at once, with the same job");
    assert_eq!(take(&client, job, alive).await, Some((2, 2)));
}

#[tokio::test]
async fn a_job_asked_for_meanwhile_takes_over_the_dead_ones_work() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    seed(&client, 1).await;
    let dead = replica(&client).await;
    let job = environments_job(&client).await;
    take(&client, job, dead).await.unwrap();
    let ask = "INSERT INTO vz_sync_jobs (team_id, scope, class, reason) VALUES (1, 'environments', 9, 'manual') RETURNING id";
    let asked: i64 = client.query_one(ask, &[]).await.unwrap().get(0);
    client.execute("DELETE FROM replicas", &[]).await.unwrap();

    assert_eq!(free(&client).await, 1);
    assert_eq!(job_state(&client, job).await, ("superseded".to_owned(), Some(asked)));
    assert_eq!(job_state(&client, asked).await.0, "queued");
}
