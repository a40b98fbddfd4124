-- Closes a circuit and forgets failures; touches nothing when there is nothing to forget. $1 int8: platform.
UPDATE vz_platforms
SET circuit_state = 'closed', consecutive_failures = 0, opened_at = NULL, open_until = NULL,
    probe_owner = NULL, last_error = NULL
WHERE id = $1 AND (circuit_state <> 'closed' OR consecutive_failures > 0)
