-- Makes a scope due at once, in full; a wait of our own making ends. $1 int8 team, $2 text scope.
UPDATE vz_sync_states
SET next_full_at = least(next_full_at, clock_timestamp()), next_delta_at = least(next_delta_at, clock_timestamp()),
    not_before = CASE WHEN not_before_reason IN ('backoff', 'partial', 'catch_up') THEN NULL ELSE not_before END,
    not_before_reason = CASE WHEN not_before_reason IN ('backoff', 'partial', 'catch_up') THEN NULL ELSE not_before_reason END
WHERE team_id = $1 AND scope = $2
RETURNING pg_notify('vz_sync', 'due')
