-- Removes old actions of all teams, and counts them out. $1 float8: kept seconds, $2 int8: batch.
-- An action without a time of its own is as old as our knowledge of it. Each kind has its own range of
-- job_logs_newest: one expression over both would read every row.
WITH old AS MATERIALIZED (
    SELECT l.team_id, l.id
    FROM teams t
    CROSS JOIN LATERAL (
        (SELECT j.team_id, j.id FROM job_logs j
         WHERE j.team_id = t.id AND j.started_at <= now() - $1::float8 * interval '1 second'
         LIMIT $2)
        UNION ALL
        (SELECT j.team_id, j.id FROM job_logs j
         WHERE j.team_id = t.id AND j.started_at IS NULL
           AND j.first_seen_at <= now() - $1::float8 * interval '1 second'
         LIMIT $2)
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
