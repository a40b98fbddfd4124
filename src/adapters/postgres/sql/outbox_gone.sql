-- Those of these teams that were removed, or never were. $1 int8[]: teams.
SELECT asked.team_id
FROM unnest($1::int8[]) AS asked (team_id)
WHERE NOT EXISTS (SELECT FROM teams t WHERE t.id = asked.team_id AND t.deleted_at IS NULL)
