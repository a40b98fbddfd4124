//! What failed its schema, and when it is forgotten.

use vz_sync_actors::domain::item::Malformed;
use vz_sync_actors::domain::removal::StaleReason;
use vz_sync_actors::domain::{ExternalId, Mode};
use vz_sync_actors::ports::store::{Store as _, Upsert, Upserts};
use vz_sync_actors::testkit::fixtures::{Environment, environments_of, insert, malformed, update};

use super::{Ground, full, inline};

/// A refusal of this element for this reason; the empty name is nobody's.
fn refusal(id: &str, error: &str) -> Malformed {
    let id = (!id.is_empty()).then(|| ExternalId::from(id));
    Malformed { id, error: error.to_owned(), ..malformed("x") }
}

/// (name, error, runs that saw it), by name.
async fn kept(ground: &Ground) -> Vec<(String, String, i64)> {
    let query =
        "SELECT external_id, error, seen_count FROM vz_sync_quarantine ORDER BY external_id";
    let rows = ground.sql().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn entry(id: &str, error: &str, seen: i64) -> (String, String, i64) {
    (id.to_owned(), error.to_owned(), seen)
}

/// One commit.
struct Commit {
    mode: Mode,
    complete: bool,
    rows: Vec<Upsert>,
    refused: Vec<Malformed>,
    gone: Vec<ExternalId>,
}

impl Default for Commit {
    fn default() -> Self {
        Self {
            mode: Mode::Full,
            complete: true,
            rows: Vec::new(),
            refused: Vec::new(),
            gone: Vec::new(),
        }
    }
}

async fn commit(ground: &Ground, run: u64, commit: Commit) {
    ground.due().await;
    let lease = ground.lease(environments_of(1), run).await;
    let mut apply = full(&lease, inline(commit.rows));
    apply.mode = commit.mode;
    apply.tables[0].verified = commit.complete;
    apply.tables[0].quarantined = commit.refused;
    apply.tables[0].stale = commit.gone.into_iter().map(|id| (id, StaleReason::Deleted)).collect();
    ground.store.apply(&apply).await.unwrap();
}

fn site(n: u32) -> Environment {
    Environment::new(n, 0)
}

#[tokio::test]
async fn the_last_refusal_stays_until_something_better_is_known() {
    let ground = Ground::with_teams(&[1]).await;
    let rows = (1..=3).map(|n| insert(site(n).item())).collect();
    commit(&ground, 1, Commit { rows, ..Commit::default() }).await;
    let first = site(1).id;

    let refused = vec![
        refusal(&first, "first"),
        refusal("", "nobody's"),
        refusal(&first, "last"),
        refusal("never-read", "new"),
        refusal("", "nobody's, again"),
    ];
    commit(&ground, 2, Commit { refused, complete: false, ..Commit::default() }).await;
    let after =
        [entry("", "nobody's, again", 1), entry(&first, "last", 1), entry("never-read", "new", 1)];
    assert_eq!(kept(&ground).await, after, "of one name the last refusal, once a run");

    // Neither a partial listing nor a delta has shown everything.
    commit(&ground, 3, Commit { complete: false, ..Commit::default() }).await;
    commit(&ground, 4, Commit { mode: Mode::Delta, ..Commit::default() }).await;
    assert_eq!(kept(&ground).await, after);

    // A complete one has: what it does not refuse is released, but for the row
    // that is served in the place of the form that failed.
    let refused = vec![refusal("never-read", "still")];
    commit(&ground, 5, Commit { refused, ..Commit::default() }).await;
    assert_eq!(kept(&ground).await, [entry(&first, "last", 1), entry("never-read", "still", 2)]);

    // What can be read again leaves, in a delta too; and what is gone.
    let rows = vec![update(site(1).item())];
    let delta = || Commit { mode: Mode::Delta, ..Commit::default() };
    commit(&ground, 6, Commit { rows, ..delta() }).await;
    assert_eq!(kept(&ground).await, [entry("never-read", "still", 2)]);
    let refused = vec![refusal(&site(2).id, "broken")];
    commit(&ground, 7, Commit { refused, ..delta() }).await;
    assert_eq!(kept(&ground).await.len(), 2);
    let gone = vec![site(2).external_id()];
    commit(&ground, 8, Commit { gone, ..delta() }).await;
    assert_eq!(kept(&ground).await, [entry("never-read", "still", 2)]);
    commit(&ground, 9, Commit::default()).await;
    assert_eq!(kept(&ground).await, []);
}

#[tokio::test]
async fn staged_rows_leave_it_too() {
    let ground = Ground::with_teams(&[1]).await;
    let refused = vec![refusal(&site(1).id, "broken")];
    commit(&ground, 1, Commit { refused, complete: false, ..Commit::default() }).await;
    assert_eq!(kept(&ground).await.len(), 1);
    ground.due().await;
    let lease = ground.lease(environments_of(1), 2).await;
    ground.store.stage(&lease.name, vec![insert(site(1).item())]).await.unwrap();
    let mut apply = full(&lease, Upserts::Staged);
    apply.mode = Mode::Delta;
    ground.store.apply(&apply).await.unwrap();
    assert_eq!(kept(&ground).await, []);
}
