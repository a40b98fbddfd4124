-- Frees leases that are past, or whose owner's heartbeat is old, and gives their jobs back.
-- $1 float8: dead after seconds. The freed states are due at once, since what made them run stands; the caller nudges
-- the scheduler.
WITH dead AS MATERIALIZED (
    SELECT s.team_id, s.scope, s.lease_job_id, s.lease_run
    FROM vz_sync_states s
    LEFT JOIN replicas r ON r.boot_id = s.lease_owner
        AND r.heartbeat_at > clock_timestamp() - $1::float8 * interval '1 second'
    WHERE s.lease_run IS NOT NULL AND (s.lease_until <= clock_timestamp() OR r.boot_id IS NULL)
    FOR UPDATE OF s SKIP LOCKED
), freed AS (
    UPDATE vz_sync_states s
    SET lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
        -- Whoever met this lease waits for it no longer.
        not_before = CASE WHEN s.not_before_reason = 'collision' THEN NULL ELSE s.not_before END,
        not_before_reason = nullif(s.not_before_reason, 'collision'),
        dispatched_at = NULL, redispatch_at = NULL, status = 'queued', last_finished_at = clock_timestamp()
    FROM dead
    WHERE s.team_id = dead.team_id AND s.scope = dead.scope
    RETURNING s.team_id, s.scope, dead.lease_job_id, dead.lease_run
), returned AS (
    -- A job that was asked for meanwhile is queued already; it will do the dead one's work.
    UPDATE vz_sync_jobs j
    SET state = CASE WHEN q.id IS NULL THEN 'queued' ELSE 'superseded' END,
        satisfied_by_job_id = q.id,
        published_at = NULL,
        finished_at = CASE WHEN q.id IS NOT NULL THEN clock_timestamp() END
    FROM freed
    LEFT JOIN vz_sync_jobs q ON q.team_id = freed.team_id AND q.scope = freed.scope AND q.state = 'queued'
    WHERE j.id = freed.lease_job_id AND j.state = 'running' AND j.run_id = freed.lease_run
    RETURNING j.id
)
SELECT freed.team_id, freed.scope, freed.lease_job_id, freed.lease_run FROM freed
