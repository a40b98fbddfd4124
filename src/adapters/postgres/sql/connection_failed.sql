-- Counts a connection-level failure; the threshold-th opens the circuit, and so does the one of a probe.
-- $1 int8: platform, $2 int4: threshold, $3 float8: open for seconds, $4 text: why.
UPDATE vz_platforms p
SET consecutive_failures = p.consecutive_failures + 1,
    circuit_state = CASE WHEN n.opens OR p.circuit_state = 'open' THEN 'open' ELSE 'closed' END,
    opened_at = CASE WHEN n.opens THEN coalesce(p.opened_at, clock_timestamp()) ELSE p.opened_at END,
    open_until = CASE WHEN n.opens THEN clock_timestamp() + $3::float8 * interval '1 second' ELSE p.open_until END,
    last_error = CASE WHEN n.opens THEN $4 ELSE p.last_error END,
    probe_owner = NULL
FROM (
    -- Locked, so that the decision sees the row that the update writes. A straggler's failure does not
    -- prolong the wait of an open circuit.
    SELECT id, CASE circuit_state
                   WHEN 'closed' THEN consecutive_failures + 1 >= $2
                   WHEN 'open' THEN open_until <= clock_timestamp()
                   ELSE true
               END AS opens
    FROM vz_platforms WHERE id = $1 FOR NO KEY UPDATE
) n
WHERE p.id = n.id
RETURNING p.circuit_state <> 'closed' AS open
