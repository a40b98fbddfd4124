-- Resumed states forget their failures and are due; what the platform asked for is still kept. $1 int8: team.
UPDATE vz_sync_states
SET failures = 0, failing_since = NULL, paused_at = NULL, pause_warned_at = NULL,
    not_before = CASE WHEN not_before_reason IN ('throttled', 'rate_limit', 'circuit_open') THEN not_before END,
    not_before_reason = CASE WHEN not_before_reason IN ('throttled', 'rate_limit', 'circuit_open') THEN not_before_reason END,
    next_full_at = least(next_full_at, now()), next_delta_at = least(next_delta_at, now()),
    pending_reason = NULL, pending_message = NULL,
    status = CASE WHEN lease_run IS NULL THEN 'idle' ELSE status END
WHERE team_id = $1
