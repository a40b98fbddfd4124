-- How the jobs of a phase stand. $1 int8: the last job before it, $2 text: the state they should end in.
SELECT count(*) FILTER (WHERE state = $2::text) AS ended,
       count(*) FILTER (WHERE state NOT IN ('queued', 'running', $2::text)) AS failed,
       max(coalesce(error, state)) FILTER (WHERE state NOT IN ('queued', 'running', $2::text) OR attempt > 1) AS error
FROM vz_sync_jobs
WHERE id > $1::int8
