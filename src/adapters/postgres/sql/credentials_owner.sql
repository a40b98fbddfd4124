-- Whose mirror a team has and where, locked until the key is stored. $1 int8: team.
SELECT t.owner_uid, p.base_url
FROM teams t
JOIN vz_platforms p ON p.id = t.platform_id
WHERE t.id = $1 AND t.deleted_at IS NULL
FOR NO KEY UPDATE OF t
