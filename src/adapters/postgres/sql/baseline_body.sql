-- The body that is still what the mirror says. $1 int8 team, $2 text data type.
SELECT body_hash FROM vz_sync_data_types
WHERE team_id = $1 AND data_type = $2 AND body_hash IS NOT NULL AND body_fence >= applied_fence
