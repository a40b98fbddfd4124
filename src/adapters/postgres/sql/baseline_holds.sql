-- Removal sets that bind later runs. $1 int8 team.
SELECT h.id, h.data_type, h.state, h.agreeing_listings, h.created_at, h.decided_at,
       coalesce(h.last_agreed_at, h.created_at) AS counted_at,
       ARRAY (SELECT i.external_id FROM vz_sync_removal_hold_items i
              WHERE i.team_id = h.team_id AND i.hold_id = h.id ORDER BY i.external_id) AS items
FROM vz_sync_removal_holds h
WHERE h.team_id = $1
  AND (h.state = 'held'
       -- A released set binds until it is carried out.
       OR (h.state = 'released' AND EXISTS (
               SELECT FROM vz_sync_removal_hold_items i
               LEFT JOIN environments e ON h.data_type = 'environments' AND e.team_id = i.team_id AND e.id = i.external_id
                   AND NOT e.stale
               LEFT JOIN nodes n ON h.data_type = 'nodes' AND n.team_id = i.team_id
                   AND n.environment_id = i.external_id AND NOT n.stale
               WHERE i.team_id = h.team_id AND i.hold_id = h.id AND (e.id IS NOT NULL OR n.id IS NOT NULL)))
       OR (h.state = 'rejected' AND h.rejected_until > clock_timestamp()))
ORDER BY h.id
