-- Rows of {table} whose time is over, oldest first. $2 float8: seconds that they are kept. To be limited by the caller.
SELECT g.ctid
FROM {table} g
WHERE g.{column} <= now() - $2::float8 * interval '1 second'
ORDER BY g.{column}
