-- Sorted by key, so that two writers can never wait for each other. $1 int8 team, $2 int8 fence, $3 timestamptz sent.
INSERT INTO job_logs AS t (team_id, id, environment_id, env_name, action, result, started_at, finished_at, user_uid,
    user_login, payload, source_version, raw_version, fence, synced_at, first_seen_at)
SELECT $1, id, environment_id, env_name, action, result, started_at, finished_at, user_uid,
       user_login, payload, source_version, raw_version, $2::int8, $3::timestamptz, $3::timestamptz
FROM rows
ORDER BY id
ON CONFLICT (team_id, id) DO UPDATE
SET environment_id = excluded.environment_id, env_name = excluded.env_name, action = excluded.action,
    result = excluded.result, started_at = excluded.started_at, finished_at = excluded.finished_at,
    user_uid = excluded.user_uid, user_login = excluded.user_login, payload = excluded.payload,
    source_version = excluded.source_version, raw_version = excluded.raw_version, fence = excluded.fence,
    synced_at = excluded.synced_at, stale = false, stale_since = NULL, needs_validation = false
WHERE t.fence <= excluded.fence
