-- Puts the running job of a scope back into the queue; where another is queued already, that one takes its place.
-- The caller holds the state's row. $1 int8 team, $2 text scope, $3 bool: give the attempt back,
-- $4 error class, $5 error code, $6 error text (null: keep what stands).
UPDATE vz_sync_jobs j
SET state = CASE WHEN q.id IS NULL THEN 'queued' ELSE 'superseded' END,
    satisfied_by_job_id = q.id,
    attempt = CASE WHEN $3 THEN greatest(j.attempt - 1, 0) ELSE j.attempt END,
    published_at = NULL,
    finished_at = CASE WHEN q.id IS NOT NULL THEN clock_timestamp() END,
    error_class = coalesce($4, j.error_class),
    error_code = coalesce($5, j.error_code),
    error = coalesce($6, j.error)
FROM (SELECT 1) one
LEFT JOIN vz_sync_jobs q ON q.team_id = $1 AND q.scope = $2 AND q.state = 'queued'
WHERE j.team_id = $1 AND j.scope = $2 AND j.state = 'running'
