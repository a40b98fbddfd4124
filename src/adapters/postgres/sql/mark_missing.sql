-- Marks rows that a complete listing lacked, and tells which of them are newly so; a mark that stands is not written
-- again. {table} is environments or nodes.
-- $1 int8 team, $2 text[] ids in order, $3 text[] reasons, $4 timestamptz sent, $5 int8 fence.
WITH found AS MATERIALIZED (
    SELECT t.id, m.reason, t.missing_since IS NULL AS newly
    FROM unnest($2::text[], $3::text[]) AS m(id, reason)
    JOIN {table} t ON t.team_id = $1 AND t.id = m.id
    WHERE NOT t.stale AND t.fence <= $5
      AND (t.missing_reason IS DISTINCT FROM m.reason OR NOT t.needs_validation OR (m.reason = 'held' AND NOT t.held))
)
UPDATE {table} t
SET missing_since = coalesce(t.missing_since, $4), missing_reason = found.reason, needs_validation = true,
    held = t.held OR found.reason = 'held', fence = $5
FROM found
WHERE t.team_id = $1 AND t.id = found.id
RETURNING t.id, found.newly
