-- Rows of a removed team in {table}, a batch at a time; one that was brought back keeps them.
-- $1 int8: team, $2 int8: batch.
DELETE FROM {table}
WHERE ({key}) IN (SELECT {key} FROM {table} WHERE team_id = $1 LIMIT $2)
  AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NOT NULL)
