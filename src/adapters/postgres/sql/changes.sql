-- A team's change rows after a cursor, oldest first.
-- $1 int8: team, $2 int8: after, $3 text: data type or null, $4 text: row or null, $5 int8: limit.
SELECT c.id, c.data_type, c.external_id, c.op, c.patch, c.undo, c.job_id, c.event_no, c.found_at
FROM resource_changes c
WHERE c.team_id = $1 AND c.id > $2
  AND ($3::text IS NULL OR c.data_type = $3)
  AND ($4::text IS NULL OR c.external_id = $4)
  AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
ORDER BY c.id
LIMIT $5
