-- The platform takes the team's key again. $1 int8: team.
UPDATE team_credentials SET state = 'valid', validated_at = now(), next_probe_at = NULL WHERE team_id = $1
