-- Staged rows of runs that hold no lease any more. To be limited by the caller.
SELECT g.ctid
FROM sync_staging g
WHERE NOT EXISTS (SELECT FROM vz_sync_states s WHERE s.lease_run = g.lease_run)
