-- Marks rows that a complete listing lacked. {table} is environments or nodes.
-- $1 int8 team, $2 text[] ids in order, $3 text[] reasons, $4 timestamptz sent, $5 int8 fence.
UPDATE {table} t
SET missing_since = coalesce(t.missing_since, $4), missing_reason = m.reason, needs_validation = true,
    held = t.held OR m.reason = 'held', fence = $5
FROM unnest($2::text[], $3::text[]) AS m(id, reason)
WHERE t.team_id = $1 AND t.id = m.id AND NOT t.stale AND t.fence <= $5
