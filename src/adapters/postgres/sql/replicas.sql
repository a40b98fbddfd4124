-- Every known replica, the oldest first. $1 float8: dead after seconds.
SELECT r.boot_id, r.host, r.version, r.permits, r.started_at, r.heartbeat_at,
       r.heartbeat_at > now() - $1::float8 * interval '1 second' AS alive,
       (SELECT count(*) FROM vz_sync_states s WHERE s.lease_owner = r.boot_id AND s.lease_run IS NOT NULL) AS running
FROM replicas r
ORDER BY r.started_at, r.boot_id
