-- Ends the rest of a team whose key was refused. $1 int8: team.
UPDATE team_settings
SET auth_failed_at = NULL, auth_failed_reason = NULL
WHERE team_id = $1 AND auth_failed_at IS NOT NULL
