-- $1 int8 team.
SELECT 1 FROM team_credentials WHERE team_id = $1 FOR NO KEY UPDATE
