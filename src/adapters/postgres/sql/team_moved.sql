-- What the old platform asked for and refused does not bind the new one. Fences and due times were moved before.
-- $1 int8: team.
UPDATE vz_sync_states
SET capabilities = '{}', not_before = NULL, not_before_reason = NULL, pending_reason = NULL, pending_message = NULL
WHERE team_id = $1
