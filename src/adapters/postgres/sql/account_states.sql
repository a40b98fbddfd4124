-- The team's account is another one now: whoever runs for the old one commits nothing, and nothing that was learnt of
-- the old one binds the new one's runs. First in the order of row locks. $1 int8: team.
-- Waits are left to credentials_due.sql, which follows. The environments a person asked for were the old account's.
UPDATE vz_sync_states
SET fence = fence + 1,
    lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
    dispatched_at = NULL, redispatch_at = NULL,
    next_full_at = now(), next_delta_at = now(), last_full_at = NULL, cursor = NULL, requested_environments = NULL,
    failures = 0, failing_since = NULL, paused_at = NULL, pause_warned_at = NULL,
    last_error_class = NULL, last_error_code = NULL, last_error = NULL
WHERE team_id = $1
RETURNING scope, fence, clock_timestamp() AS at
