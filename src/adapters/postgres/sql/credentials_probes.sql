-- Teams whose refused key is to be tried again, each to one caller only. $1 int8: limit, $2 float8: again in seconds.
-- A team that people paused or took out of the rollout is left in peace.
UPDATE team_credentials
SET next_probe_at = clock_timestamp() + $2::float8 * interval '1 second'
WHERE team_id IN (
    SELECT c.team_id
    FROM team_credentials c
    JOIN teams t ON t.id = c.team_id AND t.deleted_at IS NULL
    JOIN team_settings ts ON ts.team_id = c.team_id
        AND ts.auth_failed_at IS NOT NULL AND ts.paused_at IS NULL AND ts.in_rollout
    WHERE c.next_probe_at <= clock_timestamp() AND (SELECT enabled FROM rollout)
    ORDER BY c.next_probe_at
    LIMIT $1
    FOR UPDATE OF c SKIP LOCKED
)
RETURNING team_id
