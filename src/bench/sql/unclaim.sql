-- As if the claimed states had been run.
WITH done AS (
    DELETE FROM vz_sync_jobs RETURNING team_id, scope
)
UPDATE vz_sync_states s
SET dispatched_at = NULL, redispatch_at = NULL, status = 'idle', next_delta_at = statement_timestamp() + interval '7 days'
FROM done
WHERE s.team_id = done.team_id AND s.scope = done.scope
