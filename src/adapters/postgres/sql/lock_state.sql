-- The state's row, for changes that come from outside of a run. $1 int8 team, $2 text scope.
SELECT lease_run, lease_job_id, last_started_at, clock_timestamp() AS at
FROM vz_sync_states WHERE team_id = $1 AND scope = $2
FOR NO KEY UPDATE
