-- $1 int8 team, $2 int8 hold, $3 text[] rows that returned.
DELETE FROM vz_sync_removal_hold_items WHERE team_id = $1 AND hold_id = $2 AND external_id = ANY ($3::text[])
