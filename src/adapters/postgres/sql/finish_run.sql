-- $1 int8 team, $2 int8 job, $3 text mode, $4 jsonb counts.
UPDATE vz_sync_jobs
SET state = 'succeeded', mode = $3, counts = $4, finished_at = clock_timestamp(), published_at = NULL,
    satisfied_by_job_id = NULL, error_class = NULL, error_code = NULL, error = NULL
WHERE team_id = $1 AND id = $2
RETURNING trace_parent
