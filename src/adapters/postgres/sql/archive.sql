-- The last snapshot of environments confirmed gone, with their nodes, before any of them is marked.
-- $1 int8 team, $2 text[] ids in order, $3 text[] reasons, $4 int8 fence.
WITH forgotten AS (
    -- What is archived anew was not asked for since.
    DELETE FROM archived_site_probes p WHERE p.team_id = $1 AND p.id = ANY ($2::text[])
)
INSERT INTO archived_sites AS a (team_id, id, env_name, short_domain, domain, display_name, status, owner_uid, creator_uid,
    region, groups, ha, ssl, created_on, nodes, archived_at, reason, payload, source_version, raw_version, fence, synced_at,
    first_seen_at)
SELECT e.team_id, e.id, e.env_name, e.short_domain, e.domain, e.display_name, e.status, e.owner_uid, e.creator_uid,
       e.region, e.groups, e.ha, e.ssl, e.created_on,
       coalesce((SELECT jsonb_agg(n.payload ORDER BY n.id) FROM nodes n
                 WHERE n.team_id = e.team_id AND n.environment_id = e.id AND NOT n.stale), '[]'),
       clock_timestamp(), m.reason, e.payload, e.source_version, e.raw_version, $4, e.synced_at, e.first_seen_at
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS m(id, reason, place)
JOIN environments e ON e.team_id = $1 AND e.id = m.id AND NOT e.stale
ORDER BY e.id
ON CONFLICT (team_id, id) DO UPDATE
SET env_name = excluded.env_name, short_domain = excluded.short_domain, domain = excluded.domain,
    display_name = excluded.display_name, status = excluded.status, owner_uid = excluded.owner_uid,
    creator_uid = excluded.creator_uid, region = excluded.region, groups = excluded.groups, ha = excluded.ha,
    ssl = excluded.ssl, created_on = excluded.created_on, nodes = excluded.nodes, archived_at = excluded.archived_at,
    reason = excluded.reason, deleted_at = NULL, deleted_by = NULL,
    payload = excluded.payload, source_version = excluded.source_version, raw_version = excluded.raw_version,
    fence = excluded.fence, synced_at = excluded.synced_at, stale = false, stale_since = NULL, needs_validation = false
WHERE a.fence <= excluded.fence
