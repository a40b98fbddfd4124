-- Events after each team's cursor. $1 int8[]: teams, $2 int8[]: their cursors, $3 int8: limit in all.
SELECT o.team_id, o.event_no, o.event_type, o.payload, o.created_at
FROM unnest($1::int8[], $2::int8[]) AS c (team_id, event_no)
CROSS JOIN LATERAL (
    SELECT * FROM sync_outbox s
    WHERE s.team_id = c.team_id AND s.event_no > c.event_no
    ORDER BY s.event_no LIMIT $3
) o
ORDER BY o.team_id, o.event_no
LIMIT $3
