-- The control of the fencing test: the guard without its conditions. Never used by the service.
-- $3, $4 and $5 are the guard's, unused.
SELECT last_started_at, requested_at, requested_mode, requested_environments, requested_trace
FROM vz_sync_states
WHERE team_id = $1 AND scope = $2 AND ($3::int8, $4::uuid, $5::int8) IS NOT NULL
FOR NO KEY UPDATE
