-- Rows of archived_sites as readers get them; the caller appends conditions, order and limit.
-- $1 int8: team. A removed team has no rows, even before they are purged.
SELECT r.id,
       (SELECT row_to_json(c)::text FROM (SELECT r.env_name, r.short_domain, r.domain, r.display_name, r.status, r.owner_uid,
                                            r.creator_uid, r.region, r.groups, r.ha, r.ssl, r.created_on, r.nodes,
                                            r.archived_at, r.reason, r.deleted_at, r.deleted_by,
                                            p.probed_at AS last_probe_at, p.alive AS last_probe_alive,
                                            r.unarchived_at) c) AS columns,
       r.payload::text AS payload,
       encode(r.source_version, 'hex') AS source_version,
       e.synced_at,
       r.first_seen_at,
       r.stale,
       r.stale_since,
       NULL::timestamptz AS missing_since,
       r.needs_validation
FROM archived_sites r
LEFT JOIN archived_site_probes p ON p.team_id = r.team_id AND p.id = r.id
-- A row beyond doubt was true at the later of its own and the table's time.
CROSS JOIN LATERAL (
    SELECT CASE WHEN r.stale OR r.needs_validation THEN r.synced_at
                ELSE greatest(r.synced_at, (SELECT d.verified_at FROM vz_sync_data_types d
                                            WHERE d.team_id = $1 AND d.data_type = 'archived_sites')) END AS synced_at
) e
WHERE r.team_id = $1
  AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
