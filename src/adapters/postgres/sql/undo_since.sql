-- What happened to one row after a moment, newest first, and whether all of it is still kept.
-- $1 int8: team, $2 text: data type, $3 text: row, $4 timestamptz: the moment, $5 float8: retention in seconds.
-- At least one row: without changes its c columns are null.
SELECT k.complete,
       c.id, c.data_type, c.external_id, c.op, c.patch, c.undo, c.job_id, c.event_no, c.found_at
FROM (
    -- Nothing younger than the retention is ever trimmed; beyond it, all is there while the team's first change is.
    SELECT $4::timestamptz >= now() - $5::float8 * interval '1 second'
           OR NOT EXISTS (SELECT FROM team_event_counters n WHERE n.team_id = $1 AND n.last_change_no > 0)
           OR coalesce((SELECT o.id = 1 OR o.found_at <= $4 FROM resource_changes o
                        WHERE o.team_id = $1 ORDER BY o.id LIMIT 1), false) AS complete
) k
LEFT JOIN resource_changes c
       ON c.team_id = $1 AND c.data_type = $2 AND c.external_id = $3 AND c.found_at > $4 AND c.undo IS NOT NULL
      AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
ORDER BY c.id DESC
