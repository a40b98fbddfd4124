-- Counts a failure of a scope and makes it wait. The caller holds the state's row.
-- $1 int8 team, $2 text scope, $3 class, $4 code, $5 text, $6 float8 wait in seconds (null: no wait), $7 reason,
-- $8 text sustained: no, warn or pause.
UPDATE vz_sync_states
SET failures = failures + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    last_error_class = $3, last_error_code = $4, last_error = $5,
    not_before = CASE WHEN $6::float8 IS NULL THEN not_before ELSE clock_timestamp() + $6::float8 * interval '1 second' END,
    not_before_reason = CASE WHEN $6::float8 IS NULL THEN not_before_reason ELSE $7 END,
    status = CASE WHEN $8 = 'pause' THEN 'paused' WHEN $7 = 'throttled' THEN 'throttled' ELSE 'retrying' END,
    pending_reason = CASE WHEN $8 = 'pause' THEN 'failing' ELSE $4 END,
    pending_message = $5,
    pause_warned_at = CASE WHEN $8 = 'no' THEN pause_warned_at ELSE coalesce(pause_warned_at, clock_timestamp()) END,
    paused_at = CASE WHEN $8 = 'pause' THEN coalesce(paused_at, clock_timestamp()) ELSE paused_at END
WHERE team_id = $1 AND scope = $2
