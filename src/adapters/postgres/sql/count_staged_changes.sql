-- Change rows that the run's staged rows will give. $1 int8 team, $2 uuid run.
SELECT count(*) FROM (
    SELECT DISTINCT ON (data_type, id) patch IS NOT NULL OR kind = 'return' AS told
    FROM sync_staging WHERE lease_run = $2 AND team_id = $1
    ORDER BY data_type, id, seq DESC
) s WHERE told
