-- Environments that are there again leave the archive. $1 int8 team, $2 text[] ids, $3 uuid run or null, $4 int8 fence.
UPDATE archived_sites a
SET stale = true, stale_since = clock_timestamp(), unarchived_at = clock_timestamp(), fence = $4
WHERE a.team_id = $1 AND NOT a.stale
  AND (a.id = ANY ($2::text[])
       OR a.id IN (SELECT s.id FROM sync_staging s
                   WHERE s.lease_run = $3 AND s.data_type = 'environments' AND s.team_id = $1))
