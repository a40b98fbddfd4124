-- A cancelled scope waits one delta interval, unless somebody asked for it since or it waits longer already.
-- $1 int8 team, $2 text scope, $3 int4 default delta interval in seconds.
UPDATE vz_sync_states
SET dispatched_at = NULL, redispatch_at = NULL, status = 'idle', pending_reason = 'cancelled', pending_message = NULL,
    not_before = clock_timestamp() + coalesce(delta_interval_seconds, $3) * interval '1 second',
    not_before_reason = 'backoff'
WHERE team_id = $1 AND scope = $2 AND requested_at IS NULL
  AND (not_before IS NULL OR not_before < clock_timestamp() + coalesce(delta_interval_seconds, $3) * interval '1 second')
