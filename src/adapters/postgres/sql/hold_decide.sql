-- People release or reject a hold. $1 int8 team, $2 int8 hold, $3 bool release, $4 text by, $5 float8 rejected for, seconds.
UPDATE vz_sync_removal_holds
SET state = CASE WHEN $3 THEN 'released' ELSE 'rejected' END, decided_at = clock_timestamp(), decided_by = $4,
    rejected_until = CASE WHEN NOT $3 THEN clock_timestamp() + $5::float8 * interval '1 second' END
WHERE team_id = $1 AND id = $2 AND state = 'held'
RETURNING data_type
