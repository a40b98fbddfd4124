//! A team that goes over to another platform account: the old mirror is put
//! away in the transaction that stores the new key or moves the team to
//! another platform.
//!
//! The statements are the apply's own where it has them. No event is told and
//! no change row written: both belong to a job, and this is not one. Actions
//! of the old account stay in the history until its retention ends.

use time::OffsetDateTime;
use vz_sync_actors::domain::removal::StaleReason;
use vz_sync_actors::domain::{Scope, TeamId};
use vz_sync_actors::ports::PortResult;

use super::call::{Work, get, refused};

const STATES: &str = include_str!("sql/account_states.sql");
const DATA_TYPES: &str = include_str!("sql/account_data_types.sql");
const REQUEUE_JOB: &str = include_str!("sql/requeue_job.sql");
const ARCHIVE: &str = include_str!("sql/archive.sql");
const MARK_STALE: &str = include_str!("sql/mark_stale.sql");
const EXPIRE_HOLDS: &str = include_str!("sql/account_expire_holds.sql");
const EMPTY_QUARANTINE: &str = "DELETE FROM vz_sync_quarantine WHERE team_id = $1";

/// Puts away what was mirrored. The caller makes the scopes due.
pub(super) async fn start_anew(work: &Work<'_>, team: TeamId) -> PortResult<()> {
    let (fence, at) = stop_runs(work, team).await?;
    // The raised fence keeps every apply out: the rows read here stand still.
    let environments = live(work, team, "environments").await?;
    let nodes = live(work, team, "nodes").await?;
    let reasons = vec![StaleReason::AccountReplaced.as_str(); environments.len().max(nodes.len())];
    let of_environments = &reasons[..environments.len()];
    work.run(ARCHIVE, &[&team.0, &environments, &of_environments, &fence]).await?;
    for (table, ids) in [("environments", &environments), ("nodes", &nodes)] {
        let sql = MARK_STALE.replace("{table}", table);
        work.run(&sql, &[&team.0, ids, &&reasons[..ids.len()], &at, &fence]).await?;
    }
    work.run(EMPTY_QUARANTINE, &[&team.0]).await?;
    work.run(EXPIRE_HOLDS, &[&team.0]).await?;
    work.run(DATA_TYPES, &[&team.0, &fence]).await?;
    Ok(())
}

/// Takes the leases away. What ran is queued again, for the new account.
/// Answers the fence of the environments, which writes the mirror, and the time.
pub(super) async fn stop_runs(work: &Work<'_>, team: TeamId) -> PortResult<(i64, OffsetDateTime)> {
    let mut mirror = None;
    for row in work.rows(STATES, &[&team.0]).await? {
        let scope: String = get(&row, "scope")?;
        if scope == Scope::Environments.as_str() {
            mirror = Some((get(&row, "fence")?, get(&row, "at")?));
        }
        // An attempt that was taken away is not held against the job.
        let none = None::<&str>;
        work.run(REQUEUE_JOB, &[&team.0, &scope, &true, &none, &none, &none]).await?;
    }
    mirror.ok_or_else(|| refused(format!("team {team} has no state of its environments")))
}

async fn live(work: &Work<'_>, team: TeamId, table: &'static str) -> PortResult<Vec<String>> {
    let sql = format!("SELECT id FROM {table} WHERE team_id = $1 AND NOT stale ORDER BY id");
    work.rows(&sql, &[&team.0]).await?.iter().map(|row| get(row, "id")).collect()
}
