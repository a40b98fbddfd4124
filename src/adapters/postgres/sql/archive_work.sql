-- $1 int8 team, $2 int8 limit.
SELECT id, env_name, archived_at, (deleted_at IS NOT NULL OR deleted_by IS NOT NULL) AS annotated, last_probe_at
FROM archived_sites
WHERE team_id = $1 AND NOT stale
ORDER BY (deleted_at IS NOT NULL OR deleted_by IS NOT NULL), last_probe_at NULLS FIRST, id
LIMIT $2
