-- A run succeeded with the team's key: it is valid again. The caller has locked the settings row before any state.
-- $1 int8 team.
WITH cleared AS (
    UPDATE team_settings SET auth_failed_at = NULL, auth_failed_reason = NULL
    WHERE team_id = $1 AND auth_failed_at IS NOT NULL
)
UPDATE team_credentials SET state = 'valid', next_probe_at = NULL, validated_at = clock_timestamp() WHERE team_id = $1
