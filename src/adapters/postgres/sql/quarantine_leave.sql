-- Elements that were read again leave the quarantine. $1 int8 team, $2 text data type, $3 text[] ids, $4 uuid run or null.
DELETE FROM vz_sync_quarantine q
WHERE q.team_id = $1 AND q.data_type = $2
  AND (q.external_id = ANY ($3::text[])
       OR q.external_id IN (SELECT s.id FROM sync_staging s
                            WHERE s.lease_run = $4 AND s.data_type = $2 AND s.team_id = $1))
