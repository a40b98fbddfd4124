-- What was never asked for comes first, then what was asked for longest ago. $1 int8 team, $2 int8 limit.
SELECT a.id, a.env_name, a.archived_at, (a.deleted_at IS NOT NULL OR a.deleted_by IS NOT NULL) AS annotated, p.probed_at
FROM archived_sites a
LEFT JOIN archived_site_probes p ON p.team_id = a.team_id AND p.id = a.id
WHERE a.team_id = $1 AND NOT a.stale
ORDER BY p.probed_at NULLS FIRST, a.id
LIMIT $2
