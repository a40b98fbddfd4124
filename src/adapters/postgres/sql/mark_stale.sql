-- Marks rows confirmed gone; what was in doubt about them is settled. {table} is environments or nodes.
-- $1 int8 team, $2 text[] ids in order, $3 text[] reasons, $4 timestamptz sent, $5 int8 fence.
UPDATE {table} t
SET stale = true, stale_since = $4, stale_reason = m.reason, missing_since = NULL, missing_reason = NULL,
    needs_validation = false, held = false, quarantined = false, fence = $5
FROM unnest($2::text[], $3::text[]) AS m(id, reason)
WHERE t.team_id = $1 AND t.id = m.id AND NOT t.stale AND t.fence <= $5
