-- Moves the end of a live lease. $1 int8 team, $2 text scope, $3 int8 fence, $4 uuid run, $5 int8 job, $6 float8 seconds.
UPDATE vz_sync_states
SET lease_until = clock_timestamp() + $6::float8 * interval '1 second'
WHERE team_id = $1 AND scope = $2 AND fence = $3 AND lease_run = $4 AND lease_job_id = $5
  AND lease_until > clock_timestamp()
