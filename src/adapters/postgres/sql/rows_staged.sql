-- The rows of an upsert, staged by the run before; of two rows with one id the last wins. $4 uuid run, $5 text data type.
-- DISTINCT ON is a plan that needs no statistics, which a table filled a moment ago does not have.
WITH rows AS (
    SELECT DISTINCT ON (id) * FROM sync_staging
    WHERE lease_run = $4 AND data_type = $5 AND team_id = $1
    ORDER BY id, seq DESC
)
