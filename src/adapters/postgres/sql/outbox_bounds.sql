-- Which events of a team are kept. $1 int8: team. No row for a team without events.
SELECT coalesce((SELECT o.event_no FROM sync_outbox o WHERE o.team_id = $1 ORDER BY o.event_no LIMIT 1),
                c.last_event_no + 1) AS first,
       c.last_event_no AS last
FROM team_event_counters c
WHERE c.team_id = $1 AND c.last_event_no > 0
