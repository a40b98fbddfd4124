-- Sorted by key, so that two writers can never wait for each other. $1 int8 team, $2 int8 fence, $3 timestamptz sent.
INSERT INTO nodes AS t (team_id, id, environment_id, env_name, node_group, node_type, name, display_name, status, is_master,
    int_ip, ext_ips, version, fixed_cloudlets, flexible_cloudlets, disk_limit_mb, payload, source_version, raw_version,
    fence, synced_at, first_seen_at)
SELECT $1, id, environment_id, env_name, node_group, node_type, name, display_name, status, is_master,
       int_ip, coalesce(ext_ips, '{}'), version, fixed_cloudlets, flexible_cloudlets, disk_limit_mb, payload, source_version, raw_version,
       $2::int8, $3::timestamptz, $3::timestamptz
FROM rows
ORDER BY id
ON CONFLICT (team_id, id) DO UPDATE
SET environment_id = excluded.environment_id, env_name = excluded.env_name, node_group = excluded.node_group,
    node_type = excluded.node_type, name = excluded.name, display_name = excluded.display_name, status = excluded.status,
    is_master = excluded.is_master, int_ip = excluded.int_ip, ext_ips = excluded.ext_ips, version = excluded.version,
    fixed_cloudlets = excluded.fixed_cloudlets, flexible_cloudlets = excluded.flexible_cloudlets,
    disk_limit_mb = excluded.disk_limit_mb, payload = excluded.payload, source_version = excluded.source_version,
    raw_version = excluded.raw_version, fence = excluded.fence, synced_at = excluded.synced_at,
    stale = false, stale_since = NULL, stale_reason = NULL, needs_validation = false, missing_since = NULL,
    missing_reason = NULL, held = false, quarantined = false
WHERE t.fence <= excluded.fence
