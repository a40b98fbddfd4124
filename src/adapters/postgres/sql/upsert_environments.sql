-- Sorted by key, so that two writers can never wait for each other. $1 int8 team, $2 int8 fence, $3 timestamptz sent.
INSERT INTO environments AS t (team_id, id, env_name, short_domain, domain, display_name, status, owner_uid, creator_uid,
    region, groups, ha, ssl, created_on, outline_version, payload, source_version, raw_version, fence, synced_at, first_seen_at)
SELECT $1, id, env_name, short_domain, domain, display_name, status, owner_uid, creator_uid,
       region, coalesce(groups, '{}'), ha, ssl, created_on, outline_version, payload, source_version, raw_version, $2::int8, $3::timestamptz, $3::timestamptz
FROM rows
ORDER BY id
ON CONFLICT (team_id, id) DO UPDATE
SET env_name = excluded.env_name, short_domain = excluded.short_domain, domain = excluded.domain,
    display_name = excluded.display_name, status = excluded.status, owner_uid = excluded.owner_uid,
    creator_uid = excluded.creator_uid, region = excluded.region, groups = excluded.groups, ha = excluded.ha,
    ssl = excluded.ssl, created_on = excluded.created_on, outline_version = excluded.outline_version,
    payload = excluded.payload, source_version = excluded.source_version, raw_version = excluded.raw_version,
    fence = excluded.fence, synced_at = excluded.synced_at,
    stale = false, stale_since = NULL, stale_reason = NULL, needs_validation = false, missing_since = NULL,
    missing_reason = NULL, held = false, quarantined = false
WHERE t.fence <= excluded.fence
