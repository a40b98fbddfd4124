-- A probe found that the platform still refuses the key of a team that rests for it.
-- $1 int8: team, $2 float8: next probe in seconds.
UPDATE team_credentials
SET next_probe_at = clock_timestamp() + $2::float8 * interval '1 second'
WHERE team_id = $1 AND state = 'rejected'
