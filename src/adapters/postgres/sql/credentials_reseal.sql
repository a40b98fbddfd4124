-- Replaces a seal by one of the same key. $1 int8: team, $2 bytea: old seal, $3 bytea: new seal, $4 text: master key.
UPDATE team_credentials SET sealed = $3, key_id = $4 WHERE team_id = $1 AND sealed = $2
