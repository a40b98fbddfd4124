-- A team's own intervals, scope by scope; null is as configured. A shorter one counts from now on.
-- $1 int8: team, $2 text[]: scopes, $3 int4[]: full, $4 int4[]: delta, in seconds.
UPDATE vz_sync_states s
SET full_interval_seconds = m.full_seconds, delta_interval_seconds = m.delta_seconds,
    next_full_at = least(s.next_full_at, now() + m.full_seconds * interval '1 second'),
    next_delta_at = least(s.next_delta_at, now() + m.delta_seconds * interval '1 second')
FROM unnest($2::text[], $3::int4[], $4::int4[]) AS m(scope, full_seconds, delta_seconds)
WHERE s.team_id = $1 AND s.scope = m.scope
