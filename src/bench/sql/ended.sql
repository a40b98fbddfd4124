-- How the jobs of a phase stand. $1 int8: the last job before it.
SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE state NOT IN ('queued', 'running', 'succeeded')) AS failed,
       max(coalesce(error, state)) FILTER (WHERE state NOT IN ('queued', 'running', 'succeeded') OR attempt > 1) AS error
FROM vz_sync_jobs
WHERE id > $1::int8
