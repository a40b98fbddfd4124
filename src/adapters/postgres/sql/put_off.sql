-- Makes a scope wait without blaming anybody. The caller holds the state's row.
-- $1 int8 team, $2 text scope, $3 float8 wait in seconds, $4 reason.
UPDATE vz_sync_states
SET not_before = clock_timestamp() + $3::float8 * interval '1 second', not_before_reason = $4,
    status = 'throttled', pending_reason = $4, pending_message = NULL
WHERE team_id = $1 AND scope = $2
