-- $1 int8: how many states are due now, spread over the table; the rest is not.
UPDATE vz_sync_states SET next_delta_at = statement_timestamp()
WHERE (team_id, scope) IN (
    SELECT team_id, scope FROM vz_sync_states
    ORDER BY hashint8(team_id + $2::int8), scope LIMIT $1::int8)
