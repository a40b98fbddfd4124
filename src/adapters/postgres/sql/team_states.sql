-- The states of a team, due at once; those that exist and are enabled stay as they are.
-- $1 int8: team, $2 text[]: scopes.
INSERT INTO vz_sync_states AS s (team_id, scope, next_full_at, next_delta_at)
SELECT $1, scope, now(), now() FROM unnest($2::text[]) scope
ON CONFLICT (team_id, scope) DO UPDATE
SET enabled = true, status = 'idle', pending_reason = NULL, pending_message = NULL,
    next_full_at = now(), next_delta_at = now(), not_before = NULL, not_before_reason = NULL,
    failures = 0, failing_since = NULL, paused_at = NULL, pause_warned_at = NULL
WHERE NOT s.enabled
