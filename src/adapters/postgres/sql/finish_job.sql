-- Ends a job that has not ended. The caller holds the state's row.
-- $1 int8 team, $2 int8 job, $3 text state, $4 error class, $5 error code, $6 error text.
UPDATE vz_sync_jobs
SET state = $3, finished_at = clock_timestamp(), published_at = NULL, satisfied_by_job_id = NULL,
    error_class = $4, error_code = $5, error = $6
WHERE team_id = $1 AND id = $2 AND state IN ('queued', 'running')
RETURNING trace_parent
