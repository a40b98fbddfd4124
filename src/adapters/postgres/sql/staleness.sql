-- How far behind the tables of all teams in the rollout are, the stalest first. $1 int8: limit.
-- What was never verified goes first: nothing is staler.
SELECT d.team_id, d.data_type,
       extract(epoch FROM now() - d.verified_at)::float8 AS age,
       coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed_seconds
FROM vz_sync_data_types d
JOIN freshness_defaults f ON f.data_type = d.data_type
JOIN teams t ON t.id = d.team_id AND t.deleted_at IS NULL
JOIN team_settings ts ON ts.team_id = d.team_id AND ts.in_rollout
ORDER BY d.verified_at NULLS FIRST, d.team_id, d.data_type
LIMIT $1
