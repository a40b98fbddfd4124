-- What the passing of an interval does: every team is due. $1 bool: for a full, else for a delta.
UPDATE vz_sync_states
SET next_full_at = CASE WHEN $1::bool THEN statement_timestamp() ELSE next_full_at END,
    next_delta_at = CASE WHEN $1::bool THEN next_delta_at ELSE statement_timestamp() END
WHERE enabled
