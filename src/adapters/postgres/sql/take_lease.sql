-- Takes the lease of a (team, scope) for a queued job: the real lock of the pipeline.
-- $1 int8 team, $2 text scope, $3 int8 job, $4 uuid replica, $5 uuid run, $6 float8 lease in seconds, $7 float8 dead after seconds.
-- No row: the job is no longer queued, the state is gone or not admitted, or somebody's lease is live (a collision).
-- A dead owner's lease must have been freed before (free_leases.sql): its job still counts as running.
WITH leased AS (
    UPDATE vz_sync_states s
    SET fence = s.fence + 1,
        lease_owner = $4,
        lease_run = $5,
        lease_job_id = j.id,
        lease_until = clock_timestamp() + $6::float8 * interval '1 second',
        status = 'running',
        pending_reason = NULL,
        last_started_at = clock_timestamp()
    FROM vz_sync_jobs j
    WHERE s.team_id = $1 AND s.scope = $2 AND s.enabled AND s.admitted AND s.paused_at IS NULL
      AND j.id = $3 AND j.team_id = s.team_id AND j.scope = s.scope AND j.state = 'queued'
      AND NOT (s.lease_run IS NOT NULL AND s.lease_until > clock_timestamp()
               AND EXISTS (SELECT FROM replicas r WHERE r.boot_id = s.lease_owner
                           AND r.heartbeat_at > clock_timestamp() - $7::float8 * interval '1 second'))
    RETURNING s.*
), running AS (
    UPDATE vz_sync_jobs j
    SET state = 'running',
        attempt = j.attempt + 1,
        started_at = leased.last_started_at,
        lease_owner = leased.lease_owner,
        run_id = leased.lease_run,
        fence = leased.fence
    FROM leased
    WHERE j.id = leased.lease_job_id
    RETURNING j.id, j.attempt, j.class, j.environments, j.trace_parent
)
SELECT leased.*, running.attempt, running.class, running.environments, running.trace_parent
FROM leased CROSS JOIN running
