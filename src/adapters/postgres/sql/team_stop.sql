-- Ends everything that is under way for a removed team. $1 int8: team.
-- A raised fence and a lease that is gone make the running run commit nothing.
WITH stopped AS (
    UPDATE vz_sync_states
    SET enabled = false, fence = fence + 1,
        lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
        dispatched_at = NULL, redispatch_at = NULL,
        requested_at = NULL, requested_mode = NULL, requested_class = NULL, requested_by = NULL,
        requested_environments = NULL, requested_trace = NULL,
        status = 'disabled', pending_reason = 'disabled', pending_message = 'the team was removed'
    WHERE team_id = $1
    RETURNING team_id
), tickets AS (
    DELETE FROM sse_tickets WHERE team_id = $1
)
UPDATE vz_sync_jobs
SET state = 'obsolete', finished_at = clock_timestamp()
WHERE team_id = $1 AND state IN ('queued', 'running') AND EXISTS (SELECT FROM stopped)
