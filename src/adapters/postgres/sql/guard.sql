-- The guard of every write of a run, and its first row lock: the fence is the newest, the run is the lease's, the
-- lease still lasts. The fence alone would do but for a failover to a standby that lost the last ones.
-- $1 int8 team, $2 text scope, $3 int8 fence, $4 uuid run, $5 int8 job.
SELECT last_started_at, requested_at, requested_mode, requested_environments, requested_trace
FROM vz_sync_states
WHERE team_id = $1 AND scope = $2 AND fence = $3 AND lease_run = $4 AND lease_job_id = $5
  AND lease_until > clock_timestamp()
FOR NO KEY UPDATE
