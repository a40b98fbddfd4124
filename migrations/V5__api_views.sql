-- What SQL readers may rely on: versioned views, never the tables. A breaking change makes a _v2 beside the _v1.

CREATE SCHEMA vz_api;
COMMENT ON SCHEMA vz_api IS 'Stable, versioned views for SQL readers.';

CREATE VIEW vz_api.environments_v1 AS
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
COMMENT ON VIEW vz_api.environments_v1 IS 'Environments with their freshness.';
COMMENT ON COLUMN vz_api.environments_v1.team_id IS 'The team; filter by it.';
COMMENT ON COLUMN vz_api.environments_v1.id IS 'The platform''s appid.';
COMMENT ON COLUMN vz_api.environments_v1.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN vz_api.environments_v1.short_domain IS 'First label of the domain.';
COMMENT ON COLUMN vz_api.environments_v1.domain IS 'Internal domain.';
COMMENT ON COLUMN vz_api.environments_v1.display_name IS 'Alias given by people.';
COMMENT ON COLUMN vz_api.environments_v1.status IS 'Status number of the platform.';
COMMENT ON COLUMN vz_api.environments_v1.owner_uid IS 'Platform uid of the owner.';
COMMENT ON COLUMN vz_api.environments_v1.creator_uid IS 'Platform uid of who created it.';
COMMENT ON COLUMN vz_api.environments_v1.region IS 'Unique name of the host group.';
COMMENT ON COLUMN vz_api.environments_v1.groups IS 'Environment groups.';
COMMENT ON COLUMN vz_api.environments_v1.ha IS 'High availability is on.';
COMMENT ON COLUMN vz_api.environments_v1.ssl IS 'Built-in SSL is on.';
COMMENT ON COLUMN vz_api.environments_v1.created_on IS 'When the platform created it.';
COMMENT ON COLUMN vz_api.environments_v1.payload IS 'The element, secrets removed.';
COMMENT ON COLUMN vz_api.environments_v1.source_version IS 'sha256 of the canonical JSON, hex.';
COMMENT ON COLUMN vz_api.environments_v1.synced_at IS 'Moment at which this row is known to have been true.';
COMMENT ON COLUMN vz_api.environments_v1.freshness IS 'current or stale, by the age of synced_at.';
COMMENT ON COLUMN vz_api.environments_v1.max_allowed_staleness_seconds IS 'Age from which freshness is stale.';
COMMENT ON COLUMN vz_api.environments_v1.fresh_until IS 'Moment at which freshness turns stale.';
COMMENT ON COLUMN vz_api.environments_v1.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN vz_api.environments_v1.stale IS 'True for a row that is no longer part of the set; leave such rows out unless you want history.';
COMMENT ON COLUMN vz_api.environments_v1.stale_since IS 'When stale became true.';
COMMENT ON COLUMN vz_api.environments_v1.needs_validation IS 'The present state is in doubt.';
COMMENT ON COLUMN vz_api.environments_v1.missing_since IS 'When a complete listing first lacked it.';

CREATE VIEW vz_api.nodes_v1 AS
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
COMMENT ON VIEW vz_api.nodes_v1 IS 'Nodes with their freshness.';
COMMENT ON COLUMN vz_api.nodes_v1.team_id IS 'The team; filter by it.';
COMMENT ON COLUMN vz_api.nodes_v1.id IS 'The platform''s node id.';
COMMENT ON COLUMN vz_api.nodes_v1.environment_id IS 'appid of the environment.';
COMMENT ON COLUMN vz_api.nodes_v1.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN vz_api.nodes_v1.node_group IS 'Layer.';
COMMENT ON COLUMN vz_api.nodes_v1.node_type IS 'Stack type.';
COMMENT ON COLUMN vz_api.nodes_v1.name IS 'Stack name.';
COMMENT ON COLUMN vz_api.nodes_v1.display_name IS 'Alias given by people.';
COMMENT ON COLUMN vz_api.nodes_v1.status IS 'Status number of the platform.';
COMMENT ON COLUMN vz_api.nodes_v1.is_master IS 'First node of its layer.';
COMMENT ON COLUMN vz_api.nodes_v1.int_ip IS 'Internal address.';
COMMENT ON COLUMN vz_api.nodes_v1.ext_ips IS 'External addresses.';
COMMENT ON COLUMN vz_api.nodes_v1.version IS 'Version tag of the stack.';
COMMENT ON COLUMN vz_api.nodes_v1.fixed_cloudlets IS 'Reserved cloudlets.';
COMMENT ON COLUMN vz_api.nodes_v1.flexible_cloudlets IS 'Dynamic cloudlet limit.';
COMMENT ON COLUMN vz_api.nodes_v1.disk_limit_mb IS 'Disk limit in MB.';
COMMENT ON COLUMN vz_api.nodes_v1.payload IS 'The element, secrets removed.';
COMMENT ON COLUMN vz_api.nodes_v1.source_version IS 'sha256 of the canonical JSON, hex.';
COMMENT ON COLUMN vz_api.nodes_v1.synced_at IS 'Moment at which this row is known to have been true.';
COMMENT ON COLUMN vz_api.nodes_v1.freshness IS 'current or stale, by the age of synced_at.';
COMMENT ON COLUMN vz_api.nodes_v1.max_allowed_staleness_seconds IS 'Age from which freshness is stale.';
COMMENT ON COLUMN vz_api.nodes_v1.fresh_until IS 'Moment at which freshness turns stale.';
COMMENT ON COLUMN vz_api.nodes_v1.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN vz_api.nodes_v1.stale IS 'True for a row that is no longer part of the set; leave such rows out unless you want history.';
COMMENT ON COLUMN vz_api.nodes_v1.stale_since IS 'When stale became true.';
COMMENT ON COLUMN vz_api.nodes_v1.needs_validation IS 'The present state is in doubt.';
COMMENT ON COLUMN vz_api.nodes_v1.missing_since IS 'When a complete listing first lacked it.';

CREATE VIEW vz_api.archived_sites_v1 AS
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
COMMENT ON VIEW vz_api.archived_sites_v1 IS 'Environments that left the account, with their freshness.';
COMMENT ON COLUMN vz_api.archived_sites_v1.team_id IS 'The team; filter by it.';
COMMENT ON COLUMN vz_api.archived_sites_v1.id IS 'The platform''s appid.';
COMMENT ON COLUMN vz_api.archived_sites_v1.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN vz_api.archived_sites_v1.short_domain IS 'First label of the domain.';
COMMENT ON COLUMN vz_api.archived_sites_v1.domain IS 'Internal domain.';
COMMENT ON COLUMN vz_api.archived_sites_v1.display_name IS 'Alias given by people.';
COMMENT ON COLUMN vz_api.archived_sites_v1.status IS 'Status number of the platform.';
COMMENT ON COLUMN vz_api.archived_sites_v1.owner_uid IS 'Platform uid of the owner.';
COMMENT ON COLUMN vz_api.archived_sites_v1.creator_uid IS 'Platform uid of who created it.';
COMMENT ON COLUMN vz_api.archived_sites_v1.region IS 'Unique name of the host group.';
COMMENT ON COLUMN vz_api.archived_sites_v1.groups IS 'Environment groups.';
COMMENT ON COLUMN vz_api.archived_sites_v1.ha IS 'High availability is on.';
COMMENT ON COLUMN vz_api.archived_sites_v1.ssl IS 'Built-in SSL is on.';
COMMENT ON COLUMN vz_api.archived_sites_v1.created_on IS 'When the platform created it.';
COMMENT ON COLUMN vz_api.archived_sites_v1.nodes IS 'Its nodes as last seen.';
COMMENT ON COLUMN vz_api.archived_sites_v1.archived_at IS 'When its removal was confirmed.';
COMMENT ON COLUMN vz_api.archived_sites_v1.reason IS 'How its removal was confirmed.';
COMMENT ON COLUMN vz_api.archived_sites_v1.deleted_at IS 'When it was deleted, if the platform''s history tells.';
COMMENT ON COLUMN vz_api.archived_sites_v1.deleted_by IS 'Who deleted it, if the platform''s history tells.';
COMMENT ON COLUMN vz_api.archived_sites_v1.unarchived_at IS 'When it last came back.';
COMMENT ON COLUMN vz_api.archived_sites_v1.payload IS 'The element, secrets removed.';
COMMENT ON COLUMN vz_api.archived_sites_v1.source_version IS 'sha256 of the canonical JSON, hex.';
COMMENT ON COLUMN vz_api.archived_sites_v1.synced_at IS 'Moment at which this row is known to have been true.';
COMMENT ON COLUMN vz_api.archived_sites_v1.freshness IS 'current or stale, by the age of synced_at.';
COMMENT ON COLUMN vz_api.archived_sites_v1.max_allowed_staleness_seconds IS 'Age from which freshness is stale.';
COMMENT ON COLUMN vz_api.archived_sites_v1.fresh_until IS 'Moment at which freshness turns stale.';
COMMENT ON COLUMN vz_api.archived_sites_v1.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN vz_api.archived_sites_v1.stale IS 'True for a row that is no longer part of the set; leave such rows out unless you want history.';
COMMENT ON COLUMN vz_api.archived_sites_v1.stale_since IS 'When stale became true.';
COMMENT ON COLUMN vz_api.archived_sites_v1.needs_validation IS 'The present state is in doubt.';

CREATE VIEW vz_api.job_logs_v1 AS
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
COMMENT ON VIEW vz_api.job_logs_v1 IS 'Actions on environments, with their freshness.';
COMMENT ON COLUMN vz_api.job_logs_v1.team_id IS 'The team; filter by it.';
COMMENT ON COLUMN vz_api.job_logs_v1.id IS 'The platform''s action id.';
COMMENT ON COLUMN vz_api.job_logs_v1.environment_id IS 'appid of the environment.';
COMMENT ON COLUMN vz_api.job_logs_v1.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN vz_api.job_logs_v1.action IS 'What was done.';
COMMENT ON COLUMN vz_api.job_logs_v1.result IS 'Result number of the platform; 0 is success, null while it runs.';
COMMENT ON COLUMN vz_api.job_logs_v1.started_at IS 'When it began.';
COMMENT ON COLUMN vz_api.job_logs_v1.finished_at IS 'When it ended.';
COMMENT ON COLUMN vz_api.job_logs_v1.user_uid IS 'Platform uid of who did it.';
COMMENT ON COLUMN vz_api.job_logs_v1.user_login IS 'Login of who did it.';
COMMENT ON COLUMN vz_api.job_logs_v1.payload IS 'The element, secrets removed.';
COMMENT ON COLUMN vz_api.job_logs_v1.source_version IS 'sha256 of the canonical JSON, hex.';
COMMENT ON COLUMN vz_api.job_logs_v1.synced_at IS 'Moment at which this row is known to have been true.';
COMMENT ON COLUMN vz_api.job_logs_v1.freshness IS 'current or stale, by the age of synced_at.';
COMMENT ON COLUMN vz_api.job_logs_v1.max_allowed_staleness_seconds IS 'Age from which freshness is stale.';
COMMENT ON COLUMN vz_api.job_logs_v1.fresh_until IS 'Moment at which freshness turns stale.';
COMMENT ON COLUMN vz_api.job_logs_v1.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN vz_api.job_logs_v1.stale IS 'True for a row that is no longer part of the set; leave such rows out unless you want history.';
COMMENT ON COLUMN vz_api.job_logs_v1.stale_since IS 'When stale became true.';
COMMENT ON COLUMN vz_api.job_logs_v1.needs_validation IS 'The present state is in doubt.';

CREATE VIEW vz_api.sync_status_v1 AS
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
COMMENT ON VIEW vz_api.sync_status_v1 IS 'One row per team and data type: how fresh it is, and what its scope is doing.';
COMMENT ON COLUMN vz_api.sync_status_v1.team_id IS 'The team; filter by it.';
COMMENT ON COLUMN vz_api.sync_status_v1.data_type IS 'The mirrored table.';
COMMENT ON COLUMN vz_api.sync_status_v1.scope IS 'Scope whose runs verify it.';
COMMENT ON COLUMN vz_api.sync_status_v1.status IS 'What the scope is doing.';
COMMENT ON COLUMN vz_api.sync_status_v1.pending_reason IS 'Why it does not run now.';
COMMENT ON COLUMN vz_api.sync_status_v1.verified_at IS 'All unflagged rows were true at this moment; null before the first success.';
COMMENT ON COLUMN vz_api.sync_status_v1.verified_by IS 'full or delta.';
COMMENT ON COLUMN vz_api.sync_status_v1.freshness IS 'current or stale, by the age of verified_at.';
COMMENT ON COLUMN vz_api.sync_status_v1.max_allowed_staleness_seconds IS 'Age from which freshness is stale.';
COMMENT ON COLUMN vz_api.sync_status_v1.fresh_until IS 'Moment at which freshness turns stale.';
COMMENT ON COLUMN vz_api.sync_status_v1.due_at IS 'When the next run may be claimed; null while paused or out of rollout.';
COMMENT ON COLUMN vz_api.sync_status_v1.last_started_at IS 'When the last run began.';
COMMENT ON COLUMN vz_api.sync_status_v1.last_finished_at IS 'When the last run ended.';
COMMENT ON COLUMN vz_api.sync_status_v1.last_success_at IS 'When the last run succeeded.';
COMMENT ON COLUMN vz_api.sync_status_v1.last_error_class IS 'Failure class of the last failed run.';
COMMENT ON COLUMN vz_api.sync_status_v1.failing_since IS 'When the current series of failures began.';
COMMENT ON COLUMN vz_api.sync_status_v1.rows_total IS 'Rows that are not stale.';
COMMENT ON COLUMN vz_api.sync_status_v1.rows_flagged IS 'Rows in doubt.';

-- The role is made by `vz-sync migrate up --create-reader`; a migration only grants, where it exists.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'vz_reader') THEN
        GRANT USAGE ON SCHEMA vz_api TO vz_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA vz_api TO vz_reader;
    END IF;
END $$;
