-- Every scope of these teams as it stands, once for each table that it keeps.
-- $1 int8[]: teams, $2 float8: seconds of silence after which a replica counts as dead,
-- $3 bool: whether the pipeline of this process is on.
SELECT t.id AS team_id,
       t.name AS team_name,
       now() AS now,
       $3::bool AND ro.enabled AND ts.in_rollout AS in_rollout,
       CASE WHEN ts.paused_at IS NOT NULL THEN coalesce(ts.paused_reason, 'paused') END AS team_paused,
       CASE WHEN ts.auth_failed_at IS NOT NULL THEN coalesce(ts.auth_failed_reason, 'the key was refused') END AS auth_failed,
       ts.has_key,
       CASE WHEN p.open_until > now() THEN p.open_until END AS circuit_open_until,
       s.scope, s.enabled, s.pending_reason, s.pending_message,
       s.paused_at IS NOT NULL AS scope_paused,
       s.next_full_at, s.next_delta_at, s.not_before, s.not_before_reason,
       s.requested_at, s.dispatched_at, s.fence, s.failures, s.failing_since, s.pause_warned_at,
       s.last_error_class, s.last_error_code, s.last_success_at, s.last_full_at, s.last_mode, s.capabilities,
       CASE WHEN r.boot_id IS NOT NULL AND s.lease_until > now() THEN s.lease_owner END AS lease_owner,
       s.lease_run, s.lease_until,
       q.id AS q_id, q.scope AS q_scope, q.state AS q_state, q.mode AS q_mode, q.class AS q_class,
       q.requested_by AS q_requested_by, q.attempt AS q_attempt, q.created_at AS q_created_at,
       q.started_at AS q_started_at, q.finished_at AS q_finished_at, q.counts AS q_counts,
       q.error_class AS q_error_class, q.error AS q_error, q.satisfied_by_job_id AS q_satisfied_by_job_id,
       j.id AS j_id, j.scope AS j_scope, j.state AS j_state, j.mode AS j_mode, j.class AS j_class,
       j.requested_by AS j_requested_by, j.attempt AS j_attempt, j.created_at AS j_created_at,
       j.started_at AS j_started_at, j.finished_at AS j_finished_at, j.counts AS j_counts,
       j.error_class AS j_error_class, j.error AS j_error, j.satisfied_by_job_id AS j_satisfied_by_job_id,
       f.data_type, d.verified_at, d.verified_by,
       coalesce(d.max_allowed_staleness_seconds, f.max_allowed_staleness_seconds) AS allowed_seconds,
       (SELECT count(*) FROM vz_sync_removal_holds h
        WHERE h.team_id = t.id AND h.data_type = f.data_type AND h.state = 'held') AS holds
FROM teams t
JOIN team_settings ts ON ts.team_id = t.id
JOIN vz_platforms p ON p.id = t.platform_id
CROSS JOIN rollout ro
LEFT JOIN vz_sync_states s ON s.team_id = t.id
LEFT JOIN freshness_defaults f
       ON CASE f.data_type WHEN 'nodes' THEN 'environments' ELSE f.data_type END = s.scope
LEFT JOIN vz_sync_data_types d ON d.team_id = t.id AND d.data_type = f.data_type
LEFT JOIN replicas r ON r.boot_id = s.lease_owner AND r.heartbeat_at > now() - $2::float8 * interval '1 second'
LEFT JOIN vz_sync_jobs q ON q.team_id = s.team_id AND q.scope = s.scope AND q.state = 'queued'
LEFT JOIN vz_sync_jobs j ON j.team_id = s.team_id AND j.scope = s.scope AND j.state = 'running'
WHERE t.id = ANY ($1::int8[]) AND t.deleted_at IS NULL
ORDER BY t.id, s.scope, f.data_type
