-- Staged rows of runs that hold no lease any more. $1 int8: batch.
DELETE FROM sync_staging WHERE ctid = ANY (ARRAY(
    SELECT g.ctid FROM sync_staging g
    WHERE NOT EXISTS (SELECT FROM vz_sync_states s WHERE s.lease_run = g.lease_run) LIMIT $1::int8))
