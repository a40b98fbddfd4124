-- $1 int8 team, $2 text data type, $3 text[] ids in order, $4 text[] errors, $5 text[] redacted elements.
INSERT INTO vz_sync_quarantine AS q (team_id, data_type, external_id, error, raw_redacted)
SELECT $1, $2, m.id, m.error, m.raw
FROM unnest($3::text[], $4::text[], $5::text[]) AS m(id, error, raw)
ON CONFLICT (team_id, data_type, external_id) DO UPDATE
SET error = excluded.error, raw_redacted = excluded.raw_redacted, seen_count = q.seen_count + 1, last_seen_at = now()
