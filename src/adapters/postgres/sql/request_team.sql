-- What stands between a team and a request, with an earlier answer to the same key. A request of people locks the
-- row, so that two of them are counted one after the other.
-- $1 int8 team, $2 text idempotency key or null, $3 text[] scopes, $4 float8 seconds that a key binds.
SELECT t.id IS NOT NULL AND t.deleted_at IS NULL AS known,
       (SELECT enabled FROM rollout) AND ts.in_rollout AS in_rollout,
       ts.paused_at IS NOT NULL AS paused, ts.paused_reason, ts.has_key,
       ts.auth_failed_at IS NOT NULL AS auth_failed, ts.auth_failed_reason,
       ts.trigger_tokens, extract(epoch FROM clock_timestamp() - ts.trigger_refilled_at)::float8 AS refilled_ago,
       k.body_hash, k.response,
       EXISTS (SELECT FROM vz_sync_states s JOIN vz_platforms p ON p.id = s.platform_id
               WHERE s.team_id = $1 AND s.scope = ANY ($3::text[]) AND p.open_until > clock_timestamp()) AS circuit_open
FROM team_settings ts
JOIN teams t ON t.id = ts.team_id
LEFT JOIN idempotency_keys k ON k.team_id = $1 AND k.key = $2 AND k.created_at > clock_timestamp() - $4::float8 * interval '1 second'
WHERE ts.team_id = $1
