-- Stores a key that the platform has just accepted. $1 int8: team, $2 bytea: sealed, $3 text: master key, $4 text: by whom.
INSERT INTO team_credentials AS c (team_id, sealed, key_id, set_by, state, validated_at)
VALUES ($1, $2, $3, $4, 'valid', now())
ON CONFLICT (team_id) DO UPDATE
SET sealed = excluded.sealed, key_id = excluded.key_id, generation = c.generation + 1,
    set_by = excluded.set_by, state = 'valid', set_at = now(), validated_at = now(), next_probe_at = NULL
