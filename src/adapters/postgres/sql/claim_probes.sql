-- Claims one run of environments for each team whose refused key is to be tried again (hourly): the team is not
-- admitted, so no due index leads to it.
-- $1 int8: batch, $2 float8: re-dispatch delay in seconds.
WITH due AS MATERIALIZED (
    SELECT s.team_id, s.scope
    FROM team_credentials c
    JOIN team_settings ts ON ts.team_id = c.team_id
        AND ts.auth_failed_at IS NOT NULL AND ts.paused_at IS NULL AND ts.in_rollout
    JOIN vz_sync_states s ON s.team_id = c.team_id AND s.scope = 'environments'
        AND s.enabled AND s.paused_at IS NULL AND s.lease_run IS NULL
        AND (s.not_before IS NULL OR s.not_before <= statement_timestamp())
        AND (s.redispatch_at IS NULL OR s.redispatch_at <= statement_timestamp())
    JOIN vz_platforms p ON p.id = s.platform_id AND (p.open_until IS NULL OR p.open_until <= statement_timestamp())
    WHERE c.next_probe_at <= statement_timestamp()
      AND (SELECT enabled FROM rollout)
    ORDER BY c.next_probe_at
    LIMIT $1
    FOR UPDATE OF s SKIP LOCKED
), claimed AS (
    UPDATE vz_sync_states s
    SET dispatched_at = statement_timestamp(),
        redispatch_at = statement_timestamp() + $2::float8 * interval '1 second',
        status = 'queued'
    FROM due
    WHERE s.team_id = due.team_id AND s.scope = due.scope
    RETURNING s.team_id, s.scope
)
INSERT INTO vz_sync_jobs AS j (team_id, scope, class, deadline, reason)
SELECT team_id, scope, 4, statement_timestamp(), 'auth_probe'
FROM claimed
ON CONFLICT (team_id, scope) WHERE state = 'queued'
DO UPDATE SET published_at = NULL
RETURNING j.id, j.team_id, j.scope, j.class, j.deadline, j.trace_parent
