-- With a new key every scope is due at once, but for what the platform itself asked for. $1 int8: team.
-- Failures of the old key are not the new one's.
UPDATE vz_sync_states
SET next_full_at = least(next_full_at, now()), next_delta_at = least(next_delta_at, now()),
    not_before = CASE WHEN not_before_reason IN ('throttled', 'rate_limit', 'circuit_open') THEN not_before END,
    not_before_reason = CASE WHEN not_before_reason IN ('throttled', 'rate_limit', 'circuit_open') THEN not_before_reason END,
    failures = CASE WHEN last_error_class = 'auth' THEN 0 ELSE failures END,
    failing_since = CASE WHEN last_error_class = 'auth' THEN NULL ELSE failing_since END,
    capabilities = '{}',
    pending_reason = NULL, pending_message = NULL,
    status = CASE WHEN lease_run IS NULL THEN 'idle' ELSE status END
WHERE team_id = $1 AND enabled
