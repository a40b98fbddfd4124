-- Rows that the listing says nothing of: served on, in doubt. A mark that stands is not written again.
-- {table} is environments or nodes. $1 int8 team, $2 text[] ids in order, $3 int8 fence.
UPDATE {table}
SET needs_validation = true, fence = $3
WHERE team_id = $1 AND id = ANY ($2::text[]) AND NOT stale AND NOT needs_validation AND fence <= $3
