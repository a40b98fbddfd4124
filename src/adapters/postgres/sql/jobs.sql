-- A team's jobs, newest first.
-- $1 int8: team, $2 text: scope or null, $3 int8: before this job or null, $4 int8: limit, $5 int8: only this job or null.
SELECT j.id, j.scope, j.state, j.mode, j.class, j.requested_by, j.attempt, j.created_at, j.started_at,
       j.finished_at, j.counts, j.error_class, j.error, j.satisfied_by_job_id
FROM vz_sync_jobs j
WHERE j.team_id = $1
  AND ($2::text IS NULL OR j.scope = $2)
  AND ($3::int8 IS NULL OR j.id < $3)
  AND ($5::int8 IS NULL OR j.id = $5)
  AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
ORDER BY j.id DESC
LIMIT $4
