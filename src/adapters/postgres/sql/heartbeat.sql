-- Writes a replica's sign of life and counts the living.
-- $1 uuid: replica, $2 text: host, $3 text: version, $4 int4: permits, $5 float8: dead after seconds.
WITH me AS (
    INSERT INTO replicas (boot_id, host, version, permits)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (boot_id) DO UPDATE
    SET heartbeat_at = clock_timestamp(), permits = excluded.permits,
        running = (SELECT count(*) FROM vz_sync_states s WHERE s.lease_owner = $1 AND s.lease_run IS NOT NULL)
    -- xmax is zero only in a row that this statement inserted.
    RETURNING permits, xmax = 0 AS joined
)
SELECT 1 + count(r.boot_id) AS replicas, me.permits + coalesce(sum(r.permits), 0) AS permits, me.joined
FROM me
LEFT JOIN replicas r
       ON r.boot_id <> $1 AND r.heartbeat_at > clock_timestamp() - $5::float8 * interval '1 second'
GROUP BY me.permits, me.joined
