-- Takes or keeps the relay lease and reads the oldest events that were not relayed.
-- $1 uuid: replica, $2 float8: lease in seconds, $3 int8: limit.
-- No row while another replica holds the lease; one row of nulls when there is nothing to relay.
WITH relay AS (
    UPDATE sync_outbox_relay
    SET lease_owner = $1, lease_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE lease_owner IS NULL OR lease_owner = $1 OR lease_until <= clock_timestamp()
    RETURNING lease_owner
)
SELECT o.team_id, o.event_no, o.event_type, o.payload, o.created_at
FROM relay
LEFT JOIN LATERAL (
    -- Within a team created_at follows event_no, so a team's events stay in order.
    SELECT * FROM sync_outbox s
    WHERE s.relayed_at IS NULL
    ORDER BY s.created_at, s.team_id, s.event_no LIMIT $3
) o ON true
ORDER BY o.created_at, o.team_id, o.event_no
