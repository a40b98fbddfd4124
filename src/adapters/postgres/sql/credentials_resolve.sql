-- A team's sealed key with all that opening and using it takes. $1 int8: team.
SELECT t.platform_id, p.base_url, t.owner_uid, c.sealed, c.key_id, c.set_at
FROM teams t
JOIN vz_platforms p ON p.id = t.platform_id
LEFT JOIN team_credentials c ON c.team_id = t.id
WHERE t.id = $1 AND t.deleted_at IS NULL
