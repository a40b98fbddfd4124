-- Takes the one probe of an open circuit whose time has come, or of a probe that never told its end.
-- $1 int8: platform, $2 uuid: replica, $3 float8: the probe's time limit in seconds.
UPDATE vz_platforms
SET circuit_state = 'half_open', probe_owner = $2,
    open_until = clock_timestamp() + $3::float8 * interval '1 second'
WHERE id = $1 AND circuit_state <> 'closed' AND open_until <= clock_timestamp()
