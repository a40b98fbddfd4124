-- The mirrored tables of a team. $1 int8: team, $2 text[]: tables, $3 text[]: the scope that keeps each.
INSERT INTO vz_sync_data_types (team_id, data_type, scope)
SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT DO NOTHING
