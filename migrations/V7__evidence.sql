-- What removals, ages and limits are judged by: evidence that was written and not read, or read and not written.

ALTER TABLE vz_sync_removal_holds ADD COLUMN enlarged_at timestamptz;
COMMENT ON COLUMN vz_sync_removal_holds.enlarged_at IS 'When rows last joined it: agreement counts anew from then on.';

-- When a site was last asked for is written with every run of the archive; apart, so that the site's own row is not.
CREATE TABLE archived_site_probes (
    team_id   bigint NOT NULL,
    id        text COLLATE "C" NOT NULL,
    probed_at timestamptz NOT NULL,
    alive     boolean,
    PRIMARY KEY (team_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
COMMENT ON TABLE archived_site_probes IS 'When the platform was last asked for each archived site, and what it said.';
COMMENT ON COLUMN archived_site_probes.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN archived_site_probes.id IS 'The site''s appid.';
COMMENT ON COLUMN archived_site_probes.probed_at IS 'When it was last asked for.';
COMMENT ON COLUMN archived_site_probes.alive IS 'Whether it was there and the owner''s; null without a usable answer.';
INSERT INTO archived_site_probes
SELECT team_id, id, last_probe_at, last_probe_alive FROM archived_sites WHERE last_probe_at IS NOT NULL;
DROP INDEX archived_sites_probe;
ALTER TABLE archived_sites DROP COLUMN last_probe_at, DROP COLUMN last_probe_alive;

-- Written by nobody, or read by nobody.
ALTER TABLE vz_sync_data_types DROP COLUMN codec_version;
COMMENT ON COLUMN vz_sync_data_types.body_hash IS 'Keyed hash of the last complete body, tagged with method and codec; an equal one skips plan and apply.';
ALTER TABLE vz_platforms DROP COLUMN rate_per_second;
ALTER TABLE replicas DROP COLUMN stopping_at;
ALTER TABLE resource_changes DROP CONSTRAINT resource_changes_op_check;
ALTER TABLE resource_changes ADD CONSTRAINT resource_changes_op_check
    CHECK (op IN ('added', 'changed', 'missing', 'stale', 'returned'));

-- What each commit counts and each tidying looks for is found without reading the rest of the table.
CREATE INDEX archived_sites_flagged ON archived_sites (team_id) WHERE NOT stale AND needs_validation;
CREATE INDEX job_logs_flagged ON job_logs (team_id) WHERE NOT stale AND needs_validation;
CREATE INDEX resource_changes_age ON resource_changes (found_at);

-- A removed team is gone at once for readers of SQL, too, not only when its rows are purged.
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
JOIN teams t ON t.id = r.team_id AND t.deleted_at IS NULL
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
JOIN teams t ON t.id = r.team_id AND t.deleted_at IS NULL
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
JOIN teams t ON t.id = r.team_id AND t.deleted_at IS NULL
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
JOIN teams t ON t.id = r.team_id AND t.deleted_at IS NULL
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
JOIN teams t ON t.id = d.team_id AND t.deleted_at IS NULL
JOIN vz_sync_states s ON s.team_id = d.team_id AND s.scope = d.scope
JOIN freshness_defaults f ON f.data_type = d.data_type
CROSS JOIN LATERAL (SELECT coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed) e;
