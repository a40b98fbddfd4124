-- Removes old actions of all teams, and counts them out. $1 float8: kept seconds, $2 int8: batch.
WITH old AS MATERIALIZED (
    SELECT l.team_id, l.id
    FROM teams t
    CROSS JOIN LATERAL (
        SELECT j.team_id, j.id FROM job_logs j
        WHERE j.team_id = t.id AND coalesce(j.started_at, j.first_seen_at) <= now() - $1::float8 * interval '1 second'
        LIMIT $2
    ) l
    LIMIT $2
), gone AS (
    DELETE FROM job_logs j USING old WHERE j.team_id = old.team_id AND j.id = old.id
    RETURNING j.team_id, j.stale
), counted AS (
    UPDATE vz_sync_data_types d
    SET rows_total = greatest(d.rows_total - g.live, 0)
    FROM (SELECT team_id, count(*) FILTER (WHERE NOT stale) AS live FROM gone GROUP BY team_id) g
    WHERE d.team_id = g.team_id AND d.data_type = 'job_logs'
)
SELECT count(*) AS gone FROM gone
