-- How far a table was verified, and what stands in it. {table} is the table, {flagged} its doubts.
-- $1 int8 team, $2 text data type, $3 text scope, $4 timestamptz verified (null: not), $5 text mode, $6 bool complete
-- listing, $7 int8 fence, $8 bool rows were written, $9 bytea body (null: keep), $10 int8 shared (null: keep),
-- $11 bool count rows anew, $12 int8 rows to add otherwise.
INSERT INTO vz_sync_data_types AS d (team_id, data_type, scope, verified_at, verified_by, complete_at, body_hash, body_fence,
    applied_fence, rows_total, rows_flagged, rows_shared)
VALUES ($1, $2, $3, $4::timestamptz, CASE WHEN $4::timestamptz IS NOT NULL THEN $5 END,
        CASE WHEN $6 THEN $4::timestamptz END, $9::bytea, CASE WHEN $9::bytea IS NOT NULL THEN $7::int8 END,
        CASE WHEN $8 THEN $7::int8 ELSE 0 END,
        CASE WHEN $11 THEN (SELECT count(*) FROM {table} WHERE team_id = $1 AND NOT stale) ELSE $12::int8 END,
        CASE WHEN $8 THEN (SELECT count(*) FROM {table} WHERE team_id = $1 AND NOT stale AND {flagged}) ELSE 0 END,
        coalesce($10::int8, 0))
ON CONFLICT (team_id, data_type) DO UPDATE
SET verified_by = CASE WHEN excluded.verified_at >= coalesce(d.verified_at, '-infinity') THEN excluded.verified_by ELSE d.verified_by END,
    -- greatest() passes over nulls, and a slower clock never takes anything back.
    verified_at = greatest(d.verified_at, excluded.verified_at),
    complete_at = greatest(d.complete_at, excluded.complete_at),
    body_hash = coalesce(excluded.body_hash, d.body_hash),
    body_fence = coalesce(excluded.body_fence, d.body_fence),
    applied_fence = greatest(d.applied_fence, excluded.applied_fence),
    rows_total = CASE WHEN $11 THEN excluded.rows_total ELSE d.rows_total + $12::int8 END,
    rows_flagged = CASE WHEN $8 THEN excluded.rows_flagged ELSE d.rows_flagged END,
    rows_shared = coalesce($10::int8, d.rows_shared)
