-- Teams as operators see them, by id. $1 int8: only this team, or null.
SELECT t.id, t.name, t.platform_id, p.base_url, t.owner_uid, t.created_at,
       ts.has_key, ts.in_rollout,
       (SELECT jsonb_build_object(
            'full_interval_seconds', coalesce(jsonb_object_agg(s.scope, s.full_interval_seconds)
                FILTER (WHERE s.full_interval_seconds IS NOT NULL), '{}'),
            'delta_interval_seconds', coalesce(jsonb_object_agg(s.scope, s.delta_interval_seconds)
                FILTER (WHERE s.delta_interval_seconds IS NOT NULL), '{}'))
        FROM vz_sync_states s WHERE s.team_id = t.id)
       || (SELECT jsonb_build_object(
            'max_allowed_staleness_seconds', coalesce(jsonb_object_agg(d.data_type, d.max_allowed_staleness_seconds)
                FILTER (WHERE d.max_allowed_staleness_seconds IS NOT NULL), '{}'))
        FROM vz_sync_data_types d WHERE d.team_id = t.id) AS overrides,
       CASE WHEN ts.paused_at IS NOT NULL THEN coalesce(ts.paused_reason, 'paused') END AS paused
FROM teams t
JOIN vz_platforms p ON p.id = t.platform_id
JOIN team_settings ts ON ts.team_id = t.id
WHERE t.deleted_at IS NULL AND ($1::int8 IS NULL OR t.id = $1)
ORDER BY t.id
