-- The team's key and settings, first in the order of row locks. $1 int8 team.
SELECT c.set_at, ts.auth_failed_at IS NOT NULL AS known
FROM team_settings ts LEFT JOIN team_credentials c ON c.team_id = ts.team_id
WHERE ts.team_id = $1
