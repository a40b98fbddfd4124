-- The settings of a team. $1 int8: team, $2 text[]: cohorts, or null to keep those it has.
INSERT INTO team_settings AS s (team_id, cohorts)
VALUES ($1, coalesce($2::text[], '{}'))
ON CONFLICT (team_id) DO UPDATE SET cohorts = $2
WHERE $2::text[] IS NOT NULL AND s.cohorts <> $2
