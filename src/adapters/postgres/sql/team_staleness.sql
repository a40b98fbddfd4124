-- A team's own age limits, table by table; null is as configured.
-- $1 int8: team, $2 text[]: data types, $3 int4[]: seconds.
UPDATE vz_sync_data_types d
SET max_allowed_staleness_seconds = m.seconds
FROM unnest($2::text[], $3::int4[]) AS m(data_type, seconds)
WHERE d.team_id = $1 AND d.data_type = m.data_type
