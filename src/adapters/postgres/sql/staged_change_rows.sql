-- $1 int8 team, $2 int8 first number, $3 int8 event, $4 int8 job, $5 timestamptz found, $6 uuid run.
INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, patch, undo, job_id, found_at)
SELECT $1, $2 + row_number() OVER (ORDER BY data_type, id) - 1, $3, data_type, id,
       CASE kind WHEN 'insert' THEN 'added' WHEN 'return' THEN 'returned' ELSE 'changed' END, patch, undo, $4, $5
FROM (
    SELECT DISTINCT ON (data_type, id) data_type, id, kind, patch, undo
    FROM sync_staging WHERE lease_run = $6 AND team_id = $1
    ORDER BY data_type, id, seq DESC
) s
WHERE patch IS NOT NULL OR kind = 'return'
