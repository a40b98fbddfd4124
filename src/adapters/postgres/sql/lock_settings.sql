-- The team's settings row, first in the order of locks. $1 int8 team.
SELECT 1 FROM team_settings WHERE team_id = $1 FOR NO KEY UPDATE
