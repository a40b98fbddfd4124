CREATE OR REPLACE VIEW vz_api.environments_v1 AS
SELECT
    r.team_id,
    r.id,
    r.env_name,
    r.short_domain,
    r.domain,
    r.display_name,
    r.status,
    r.owner_uid,
    r.creator_uid,
    r.region,
    r.groups,
    r.ha,
    r.ssl,
    r.created_on,
    r.payload,
    encode(r.source_version, 'hex') AS source_version,
    e.synced_at,
    CASE WHEN now() - e.synced_at >= e.allowed * interval '1 second' THEN 'stale' ELSE 'current' END AS freshness,
    e.allowed AS max_allowed_staleness_seconds,
    e.synced_at + e.allowed * interval '1 second' AS fresh_until,
    r.first_seen_at,
    r.stale,
    r.stale_since,
    r.needs_validation,
    r.missing_since
FROM environments r
JOIN vz_sync_data_types d ON d.team_id = r.team_id AND d.data_type = 'environments'
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT CASE WHEN NOT r.stale AND r.missing_since IS NULL AND NOT r.needs_validation THEN greatest(r.synced_at, d.verified_at) ELSE r.synced_at END AS synced_at,
                           coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;

CREATE OR REPLACE VIEW vz_api.nodes_v1 AS
SELECT
    r.team_id,
    r.id,
    r.environment_id,
    r.env_name,
    r.node_group,
    r.node_type,
    r.name,
    r.display_name,
    r.status,
    r.is_master,
    r.int_ip,
    r.ext_ips,
    r.version,
    r.fixed_cloudlets,
    r.flexible_cloudlets,
    r.disk_limit_mb,
    r.payload,
    encode(r.source_version, 'hex') AS source_version,
    e.synced_at,
    CASE WHEN now() - e.synced_at >= e.allowed * interval '1 second' THEN 'stale' ELSE 'current' END AS freshness,
    e.allowed AS max_allowed_staleness_seconds,
    e.synced_at + e.allowed * interval '1 second' AS fresh_until,
    r.first_seen_at,
    r.stale,
    r.stale_since,
    r.needs_validation,
    r.missing_since
FROM nodes r
JOIN vz_sync_data_types d ON d.team_id = r.team_id AND d.data_type = 'nodes'
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT CASE WHEN NOT r.stale AND r.missing_since IS NULL AND NOT r.needs_validation THEN greatest(r.synced_at, d.verified_at) ELSE r.synced_at END AS synced_at,
                           coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;

CREATE OR REPLACE VIEW vz_api.archived_sites_v1 AS
SELECT
    r.team_id,
    r.id,
    r.env_name,
    r.short_domain,
    r.domain,
    r.display_name,
    r.status,
    r.owner_uid,
    r.creator_uid,
    r.region,
    r.groups,
    r.ha,
    r.ssl,
    r.created_on,
    r.nodes,
    r.archived_at,
    r.reason,
    r.deleted_at,
    r.deleted_by,
    r.unarchived_at,
    r.payload,
    encode(r.source_version, 'hex') AS source_version,
    e.synced_at,
    CASE WHEN now() - e.synced_at >= e.allowed * interval '1 second' THEN 'stale' ELSE 'current' END AS freshness,
    e.allowed AS max_allowed_staleness_seconds,
    e.synced_at + e.allowed * interval '1 second' AS fresh_until,
    r.first_seen_at,
    r.stale,
    r.stale_since,
    r.needs_validation
FROM archived_sites r
JOIN vz_sync_data_types d ON d.team_id = r.team_id AND d.data_type = 'archived_sites'
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT CASE WHEN NOT r.stale AND NOT r.needs_validation THEN greatest(r.synced_at, d.verified_at) ELSE r.synced_at END AS synced_at,
                           coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;

CREATE OR REPLACE VIEW vz_api.job_logs_v1 AS
SELECT
    r.team_id,
    r.id,
    r.environment_id,
    r.env_name,
    r.action,
    r.result,
    r.started_at,
    r.finished_at,
    r.user_uid,
    r.user_login,
    r.payload,
    encode(r.source_version, 'hex') AS source_version,
    e.synced_at,
    CASE WHEN now() - e.synced_at >= e.allowed * interval '1 second' THEN 'stale' ELSE 'current' END AS freshness,
    e.allowed AS max_allowed_staleness_seconds,
    e.synced_at + e.allowed * interval '1 second' AS fresh_until,
    r.first_seen_at,
    r.stale,
    r.stale_since,
    r.needs_validation
FROM job_logs r
JOIN vz_sync_data_types d ON d.team_id = r.team_id AND d.data_type = 'job_logs'
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT CASE WHEN NOT r.stale AND NOT r.needs_validation THEN greatest(r.synced_at, d.verified_at) ELSE r.synced_at END AS synced_at,
                           coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;

CREATE OR REPLACE VIEW vz_api.sync_status_v1 AS
SELECT
    d.team_id,
    d.data_type,
    d.scope,
    s.status,
    s.pending_reason,
    d.verified_at,
    d.verified_by,
    CASE WHEN d.verified_at IS NULL OR now() - d.verified_at >= e.allowed * interval '1 second' THEN 'stale' ELSE 'current' END AS freshness,
    e.allowed AS max_allowed_staleness_seconds,
    d.verified_at + e.allowed * interval '1 second' AS fresh_until,
    s.due_at,
    s.last_started_at,
    s.last_finished_at,
    s.last_success_at,
    s.last_error_class,
    s.failing_since,
    d.rows_total,
    d.rows_flagged
FROM vz_sync_data_types d
JOIN vz_sync_states s ON s.team_id = d.team_id AND s.scope = d.scope
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;

DROP INDEX resource_changes_age;
DROP INDEX job_logs_flagged;
DROP INDEX archived_sites_flagged;

ALTER TABLE resource_changes DROP CONSTRAINT resource_changes_op_check;
ALTER TABLE resource_changes ADD CONSTRAINT resource_changes_op_check
    CHECK (op IN ('added', 'changed', 'missing', 'stale', 'returned', 'archived'));
ALTER TABLE replicas ADD COLUMN stopping_at timestamptz;
COMMENT ON COLUMN replicas.stopping_at IS 'When it began to shut down; it leases nothing after that.';
ALTER TABLE vz_platforms ADD COLUMN rate_per_second real CHECK (rate_per_second > 0);
COMMENT ON COLUMN vz_platforms.rate_per_second IS 'Requests per second over all replicas; null takes the configured limit.';
ALTER TABLE vz_sync_data_types ADD COLUMN codec_version integer;
COMMENT ON COLUMN vz_sync_data_types.codec_version IS 'Version of the codec that saw body_hash; another one is a miss.';
COMMENT ON COLUMN vz_sync_data_types.body_hash IS 'Keyed hash of the last complete body; an equal one skips plan and apply.';

ALTER TABLE archived_sites ADD COLUMN last_probe_at timestamptz, ADD COLUMN last_probe_alive boolean;
COMMENT ON COLUMN archived_sites.last_probe_at IS 'When the platform was last asked whether it is back.';
COMMENT ON COLUMN archived_sites.last_probe_alive IS 'What it answered; null when the answer was of no use.';
UPDATE archived_sites a SET last_probe_at = p.probed_at, last_probe_alive = p.alive
FROM archived_site_probes p WHERE p.team_id = a.team_id AND p.id = a.id;
CREATE INDEX archived_sites_probe ON archived_sites (team_id, last_probe_at NULLS FIRST) WHERE NOT stale;
DROP TABLE archived_site_probes;

ALTER TABLE vz_sync_removal_holds DROP COLUMN enlarged_at;
