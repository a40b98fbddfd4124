-- The request is given up with the job that could not serve it. The caller holds the state's row.
-- $1 int8 team, $2 text scope.
UPDATE vz_sync_states
SET requested_at = NULL, requested_mode = NULL, requested_class = NULL, requested_by = NULL,
    requested_environments = NULL, requested_trace = NULL, dispatched_at = NULL, redispatch_at = NULL
WHERE team_id = $1 AND scope = $2
