-- Leases a (team, scope) for a queued job: the real lock of the pipeline, and every other end that a delivery can
-- have, in one statement, since most deliveries need no more than this.
-- $1 int8 team, $2 text scope, $3 int8 job, $4 uuid replica, $5 uuid run, $6 float8 lease in seconds,
-- $7 float8 dead after seconds, $8 float8 collision delay in seconds, $9 int4 most attempts.
-- No row: there is no such state, or no such job. Two verdicts are only told, not acted on: 'dead_lease' (free the
-- lease first, its job still counts as running) and 'exhausted' (the end owes an event).
WITH facts AS MATERIALIZED (
    SELECT s.fence, s.lease_owner, s.lease_run, s.lease_until, s.not_before, s.dispatched_at, s.failures, s.failing_since,
           s.last_full_at, s.cursor, s.full_interval_seconds, s.delta_interval_seconds, s.platform_id,
           s.requested_at, s.requested_mode, s.requested_environments, s.requested_trace,
           s.pending_message AS scope_message, s.enabled, s.paused_at AS scope_paused_at,
           coalesce(s.next_full_at, statement_timestamp()) AS next_full_at,
           coalesce(s.next_delta_at, statement_timestamp()) AS next_delta_at,
           j.state, j.attempt, j.class, clock_timestamp() AS at
    FROM vz_sync_states s
    JOIN vz_sync_jobs j ON j.id = $3 AND j.team_id = s.team_id AND j.scope = s.scope
    WHERE s.team_id = $1 AND s.scope = $2
    -- The order of all row locks: the state, then its job.
    FOR UPDATE OF s, j
), judged AS MATERIALIZED (
    SELECT f.*, ts.paused_at, ts.paused_reason, ts.auth_failed_at, ts.auth_failed_reason, ts.has_key,
           t.owner_uid,
           (SELECT enabled FROM rollout) AND ts.in_rollout AND t.deleted_at IS NULL AND f.enabled AS in_rollout,
           CASE
               WHEN f.state <> 'queued' THEN 'not_queued'
               WHEN t.id IS NULL OR t.deleted_at IS NOT NULL OR NOT (SELECT enabled FROM rollout)
                    OR NOT ts.in_rollout OR NOT f.enabled
                    OR ts.paused_at IS NOT NULL OR f.scope_paused_at IS NOT NULL OR NOT ts.has_key
                    OR ts.auth_failed_at IS NOT NULL THEN 'resting'
               WHEN f.lease_run IS NOT NULL AND f.lease_until > f.at AND EXISTS (
                       SELECT FROM replicas r
                       WHERE r.boot_id = f.lease_owner
                         AND r.heartbeat_at > f.at - $7::float8 * interval '1 second') THEN 'busy'
               WHEN f.not_before > f.at THEN 'later'
               WHEN least(f.next_full_at, f.next_delta_at, f.requested_at) > f.at THEN 'fresh'
               WHEN f.attempt >= $9::int4 THEN 'exhausted'
               WHEN f.lease_run IS NOT NULL THEN 'dead_lease'
               ELSE 'granted'
           END AS verdict
    FROM facts f
    LEFT JOIN teams t ON t.id = $1
    LEFT JOIN team_settings ts ON ts.team_id = $1
), state AS (
    UPDATE vz_sync_states s
    SET fence = CASE WHEN v.verdict = 'granted' THEN s.fence + 1 ELSE s.fence END,
        lease_owner = CASE WHEN v.verdict = 'granted' THEN $4 ELSE s.lease_owner END,
        lease_run = CASE WHEN v.verdict = 'granted' THEN $5 ELSE s.lease_run END,
        lease_job_id = CASE WHEN v.verdict = 'granted' THEN $3 ELSE s.lease_job_id END,
        lease_until = CASE WHEN v.verdict = 'granted' THEN v.at + $6::float8 * interval '1 second' ELSE s.lease_until END,
        last_started_at = CASE WHEN v.verdict = 'granted' THEN v.at ELSE s.last_started_at END,
        -- What ended here may be dispatched anew; a live run keeps its mark.
        dispatched_at = CASE WHEN v.verdict = 'granted' THEN s.dispatched_at END,
        redispatch_at = CASE WHEN v.verdict = 'granted' THEN s.redispatch_at END,
        not_before = CASE WHEN v.verdict = 'granted' THEN NULL WHEN v.verdict = 'busy'
                          THEN greatest(s.not_before, v.at + $8::float8 * interval '1 second') ELSE s.not_before END,
        not_before_reason = CASE WHEN v.verdict = 'granted' THEN NULL WHEN v.verdict = 'busy' AND (s.not_before IS NULL
                                      OR s.not_before < v.at + $8::float8 * interval '1 second')
                                 THEN 'collision' ELSE s.not_before_reason END,
        status = CASE v.verdict WHEN 'granted' THEN 'running' WHEN 'fresh' THEN 'idle' ELSE s.status END,
        pending_reason = CASE WHEN v.verdict = 'granted' THEN NULL ELSE s.pending_reason END,
        pending_message = CASE WHEN v.verdict = 'granted' THEN NULL ELSE s.pending_message END
    FROM judged v
    WHERE s.team_id = $1 AND s.scope = $2 AND v.verdict IN ('granted', 'busy', 'later', 'fresh', 'resting')
    RETURNING s.fence
), job AS (
    UPDATE vz_sync_jobs j
    SET state = CASE v.verdict WHEN 'granted' THEN 'running' WHEN 'busy' THEN 'queued' WHEN 'later' THEN 'queued'
                               ELSE 'obsolete' END,
        attempt = CASE WHEN v.verdict = 'granted' THEN j.attempt + 1 ELSE j.attempt END,
        mode = CASE WHEN v.verdict <> 'granted' THEN j.mode
                    WHEN v.next_full_at <= v.at OR v.requested_mode = 'full' OR v.last_full_at IS NULL THEN 'full'
                    ELSE 'delta' END,
        published_at = NULL,
        not_before = CASE v.verdict WHEN 'later' THEN v.not_before WHEN 'busy' THEN v.at + $8::float8 * interval '1 second' END,
        started_at = CASE WHEN v.verdict = 'granted' THEN v.at ELSE j.started_at END,
        lease_owner = CASE WHEN v.verdict = 'granted' THEN $4 ELSE j.lease_owner END,
        run_id = CASE WHEN v.verdict = 'granted' THEN $5 ELSE j.run_id END,
        fence = CASE WHEN v.verdict = 'granted' THEN v.fence + 1 ELSE j.fence END,
        finished_at = CASE WHEN v.verdict IN ('fresh', 'resting') THEN v.at END,
        satisfied_by_job_id = CASE WHEN v.verdict IN ('fresh', 'resting') THEN (
            SELECT d.id FROM vz_sync_jobs d
            WHERE d.team_id = $1 AND d.scope = $2 AND d.state = 'succeeded' ORDER BY d.id DESC LIMIT 1) END
    FROM judged v
    WHERE j.id = $3 AND j.team_id = $1 AND v.verdict IN ('granted', 'busy', 'later', 'fresh', 'resting')
    RETURNING j.attempt, j.mode, j.class
)
SELECT v.verdict, v.at, v.lease_run AS holder, v.not_before, v.attempt AS attempts,
       v.in_rollout, v.paused_at IS NOT NULL OR v.scope_paused_at IS NOT NULL AS paused,
       coalesce(v.paused_reason, v.scope_message) AS paused_reason, v.has_key, v.auth_failed_reason,
       v.failures, v.failing_since, v.last_full_at, v.next_full_at, v.next_delta_at, v.cursor,
       v.full_interval_seconds, v.delta_interval_seconds, v.platform_id, v.owner_uid, v.dispatched_at,
       v.requested_at, v.requested_mode, v.requested_environments, v.requested_trace,
       state.fence, job.attempt, job.mode, job.class,
       -- What the last complete listing counted; only full runs say so. Without one, the jobs are another account's.
       CASE WHEN v.verdict = 'granted' AND v.last_full_at IS NOT NULL THEN (
           SELECT (d.counts ->> 'listed')::int8 FROM vz_sync_jobs d
           WHERE d.team_id = $1 AND d.scope = $2 AND d.state = 'succeeded' AND d.mode = 'full'
             AND (d.counts ->> 'complete')::bool
           ORDER BY d.id DESC LIMIT 1) END AS expected
FROM judged v
LEFT JOIN state ON true
LEFT JOIN job ON true
