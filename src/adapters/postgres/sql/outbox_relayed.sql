-- Notes that these events were relayed. $1 int8[]: teams, $2 int8[]: event numbers.
UPDATE sync_outbox o
SET relayed_at = clock_timestamp()
FROM unnest($1::int8[], $2::int8[]) AS e (team_id, event_no)
WHERE o.team_id = e.team_id AND o.event_no = e.event_no AND o.relayed_at IS NULL
