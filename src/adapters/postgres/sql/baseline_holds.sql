-- Removal sets that bind later runs. $1 int8 team.
SELECT h.id, h.data_type, h.state, h.agreeing_listings, h.created_at, h.decided_at,
       ARRAY (SELECT i.external_id FROM vz_sync_removal_hold_items i
              WHERE i.team_id = h.team_id AND i.hold_id = h.id ORDER BY i.external_id) AS items
FROM vz_sync_removal_holds h
WHERE h.team_id = $1
  AND (h.state IN ('held', 'released') OR (h.state = 'rejected' AND h.rejected_until > clock_timestamp()))
ORDER BY h.id
