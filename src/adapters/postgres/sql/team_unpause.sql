-- Ends the pause of a team; its states follow with team_resume.sql. $1 int8: team.
UPDATE team_settings
SET paused_at = NULL, paused_by = NULL, paused_reason = NULL
WHERE team_id = $1 AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
