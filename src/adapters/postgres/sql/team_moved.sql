-- The team's account is another one now: whoever runs for the old one commits nothing. $1 int8: team.
UPDATE vz_sync_states
SET fence = fence + 1, cursor = NULL, capabilities = '{}', next_full_at = now(), next_delta_at = now()
WHERE team_id = $1
