-- Changes who takes part.
-- $1 bool: enabled, $2 bool: everyone, $3 int8[]: teams, $4 text[]: cohorts, $5 int2: percent,
-- $6 bool: only if configuration has not filled the row yet, $7 text: by whom, or null for configuration.
UPDATE rollout
SET enabled = $1, everyone = $2, team_ids = $3, cohorts = $4, percent = $5,
    updated_at = now(), updated_by = $7, seeded_at = coalesce(seeded_at, now())
WHERE NOT $6 OR seeded_at IS NULL
