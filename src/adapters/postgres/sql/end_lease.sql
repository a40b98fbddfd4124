-- Ends the lease of a scope whose row this transaction holds, and lets it be dispatched anew.
-- $1 int8 team, $2 text scope.
UPDATE vz_sync_states
SET lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
    dispatched_at = NULL, redispatch_at = NULL, status = 'queued', last_finished_at = clock_timestamp()
WHERE team_id = $1 AND scope = $2
