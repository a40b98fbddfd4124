-- Pauses a team: the first pause keeps its time, the last one its reason and whose it was.
-- $1 int8: team, $2 text: reason, $3 text: by whom.
UPDATE team_settings
SET paused_at = coalesce(paused_at, now()), paused_reason = $2, paused_by = $3
WHERE team_id = $1 AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
