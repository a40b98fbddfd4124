-- The platform refuses the team's key: the whole team rests, the key is tried again later.
-- The caller has locked credentials and settings before any state.
-- $1 int8 team, $2 text what the platform said, $3 float8 next probe in seconds.
WITH noted AS (
    UPDATE team_credentials
    SET state = 'rejected', next_probe_at = clock_timestamp() + $3::float8 * interval '1 second'
    WHERE team_id = $1
)
UPDATE team_settings
SET auth_failed_at = coalesce(auth_failed_at, clock_timestamp()), auth_failed_reason = $2
WHERE team_id = $1
