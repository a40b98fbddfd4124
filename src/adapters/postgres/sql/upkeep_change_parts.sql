-- Partitions of change rows that may hold old ones and are not dropped as a whole: the month in which the retention
-- ends, those before it, and the rest that has no month. $1 float8: seconds that change rows are kept.
SELECT c.oid::regclass::text AS part
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'resource_changes'::regclass
  AND (c.relname = 'resource_changes_default'
       OR c.relname <= 'resource_changes_'
           || to_char((now() - $1::float8 * interval '1 second') AT TIME ZONE 'UTC', 'YYYY_MM'))
