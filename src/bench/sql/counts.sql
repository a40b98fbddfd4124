-- What the jobs of a phase did, in rows. $1 int8: the last job before it.
SELECT count(*) AS jobs,
       count(*) FILTER (WHERE mode = 'full') AS full_runs,
       count(*) FILTER (WHERE NOT (counts ->> 'complete')::bool) AS partial,
       coalesce(sum((counts ->> 'inserted')::int8), 0)::int8 AS inserted,
       coalesce(sum((counts ->> 'updated')::int8), 0)::int8 AS updated,
       coalesce(sum((counts ->> 'unchanged')::int8), 0)::int8 AS unchanged,
       coalesce(sum((counts ->> 'missing')::int8), 0)::int8 AS missing,
       coalesce(sum((counts ->> 'stale')::int8), 0)::int8 AS stale
FROM vz_sync_jobs
WHERE id > $1::int8 AND state = 'succeeded'
