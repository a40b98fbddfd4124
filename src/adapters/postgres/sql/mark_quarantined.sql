-- The last good row stays served, in doubt. A row already marked is not written again. {table} is environments or nodes.
-- $1 int8 team, $2 text[] ids, $3 int8 fence.
UPDATE {table}
SET quarantined = true, needs_validation = true, fence = $3
WHERE team_id = $1 AND id = ANY ($2::text[]) AND NOT stale AND NOT (quarantined AND needs_validation) AND fence <= $3
