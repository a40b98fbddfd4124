-- Holds a set, or adds it to the one that waits: agreement then counts anew, for the larger set.
-- $1 int8 team, $2 text data type, $3 text reason, $4 int8 of, $5 text[] items in order, $6 int8 job,
-- $7 timestamptz sent: what joins was missed for the first time then.
WITH held AS (
    INSERT INTO vz_sync_removal_holds AS h (team_id, data_type, reason, rows_before, rows_missing, job_id)
    VALUES ($1, $2, $3, $4, cardinality($5::text[]), $6)
    ON CONFLICT (team_id, data_type) WHERE state = 'held' DO UPDATE
    SET reason = excluded.reason, rows_before = excluded.rows_before, job_id = excluded.job_id,
        rows_missing = h.rows_missing + cardinality($5::text[]), agreeing_listings = 0,
        last_agreed_at = $7
    RETURNING h.id, h.rows_missing
), items AS (
    INSERT INTO vz_sync_removal_hold_items (hold_id, external_id, team_id)
    SELECT held.id, m.id, $1 FROM held, unnest($5::text[]) AS m(id)
    ON CONFLICT DO NOTHING
)
SELECT id, rows_missing FROM held
