-- Frees leases that have run out, before a claim: the states may run again, their jobs go back to the queue.
-- Reads the few leased rows alone. Rows that another claimer holds are left to it.
WITH over AS MATERIALIZED (
    SELECT s.team_id, s.scope, s.lease_job_id
    FROM vz_sync_states s
    WHERE s.lease_run IS NOT NULL AND s.lease_until <= statement_timestamp()
    FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE vz_sync_states s
    SET lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
        -- Whoever met this lease waits for it no longer.
        not_before = CASE WHEN s.not_before_reason = 'collision' THEN NULL ELSE s.not_before END,
        not_before_reason = nullif(s.not_before_reason, 'collision'),
        dispatched_at = NULL, redispatch_at = NULL, status = 'queued', last_finished_at = clock_timestamp()
    FROM over
    WHERE s.team_id = over.team_id AND s.scope = over.scope
    RETURNING s.team_id, s.scope, over.lease_job_id
)
UPDATE vz_sync_jobs j
SET state = CASE WHEN q.id IS NULL THEN 'queued' ELSE 'superseded' END,
    satisfied_by_job_id = q.id,
    published_at = NULL,
    finished_at = CASE WHEN q.id IS NOT NULL THEN clock_timestamp() END
FROM freed
LEFT JOIN vz_sync_jobs q ON q.team_id = freed.team_id AND q.scope = freed.scope AND q.state = 'queued'
WHERE j.id = freed.lease_job_id AND j.team_id = freed.team_id AND j.state = 'running'
