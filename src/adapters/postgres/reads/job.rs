//! Job rows, as the history and the status statements spell them.

use tokio_postgres::Row;
use tokio_postgres::types::Json;
use vz_sync_actors::domain::{Class, Counts, JobId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::reads::JobRow;

use crate::adapters::postgres::call::{get, moment, refused, word, word_or_null};

/// Reads a job whose columns carry a prefix; `None` when the join found none.
pub(super) fn read(row: &Row, prefix: &str) -> PortResult<Option<JobRow>> {
    let name = |column: &str| format!("{prefix}{column}");
    let Some(id) = get::<Option<i64>>(row, &name("id"))? else { return Ok(None) };
    let class: i16 = get(row, &name("class"))?;
    Ok(Some(JobRow {
        id: JobId(id),
        scope: word(row, &name("scope"))?,
        state: word(row, &name("state"))?,
        mode: word_or_null(row, &name("mode"))?,
        class: Class::ALL
            .into_iter()
            .find(|known| i16::from(known.amqp_priority()) == class)
            .ok_or_else(|| refused(format!("job {id} has the unknown class {class}")))?,
        requested_by: get(row, &name("requested_by"))?,
        attempt: get::<i32>(row, &name("attempt"))?.unsigned_abs(),
        created_at: get(row, &name("created_at"))?,
        started_at: moment(row, &name("started_at"))?,
        finished_at: moment(row, &name("finished_at"))?,
        counts: get::<Option<Json<Counts>>>(row, &name("counts"))?.map(|Json(counts)| counts),
        error_class: get(row, &name("error_class"))?,
        error: get(row, &name("error"))?,
        satisfied_by_job_id: get::<Option<i64>>(row, &name("satisfied_by_job_id"))?.map(JobId),
    }))
}
