-- Rows whose time is over, oldest first, so that what is left of a team has no gaps, whenever this is interrupted.
-- The words in braces are ours. $1 int8: batch, $2 float8: kept seconds.
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT g.ctid FROM {table} g
    WHERE g.{column} <= now() - $2::float8 * interval '1 second' ORDER BY g.{column} LIMIT $1::int8))
