-- Keys that another master key sealed. $1 text: the master key that seals now.
SELECT c.team_id, c.sealed, p.base_url
FROM team_credentials c
JOIN teams t ON t.id = c.team_id
JOIN vz_platforms p ON p.id = t.platform_id
WHERE c.key_id <> $1
ORDER BY c.team_id
