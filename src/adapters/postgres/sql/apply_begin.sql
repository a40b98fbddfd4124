-- The database's clock, before any lock is waited for, and whether a refused key must be accepted again. $1 int8 team.
SELECT clock_timestamp() AS at, EXISTS (
    SELECT FROM team_settings WHERE team_id = $1 AND auth_failed_at IS NOT NULL) AS auth_failed
