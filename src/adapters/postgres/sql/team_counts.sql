-- Live rows of these teams. $1 int8[]: teams.
SELECT t.id AS team_id,
       (SELECT coalesce(jsonb_object_agg(e.status, e.rows), '{}')
        FROM (SELECT status, count(*) AS rows FROM environments
              WHERE team_id = t.id AND NOT stale GROUP BY status) e) AS environments_by_status,
       (SELECT count(*) FROM nodes n WHERE n.team_id = t.id AND NOT n.stale) AS nodes
FROM teams t
WHERE t.id = ANY ($1::int8[]) AND t.deleted_at IS NULL
