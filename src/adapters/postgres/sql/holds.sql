-- A team's removal sets, in the order in which they were made. $1 int8: team, $2 bool: decided ones too.
SELECT h.id, h.data_type, h.state, h.reason, h.rows_before, h.agreeing_listings, h.created_at, h.decided_at, h.decided_by,
       ARRAY(SELECT i.external_id FROM vz_sync_removal_hold_items i WHERE i.hold_id = h.id AND i.team_id = $1
             ORDER BY i.external_id) AS items
FROM vz_sync_removal_holds h
WHERE h.team_id = $1 AND ($2 OR h.state = 'held')
  AND EXISTS (SELECT FROM teams t WHERE t.id = $1 AND t.deleted_at IS NULL)
ORDER BY h.id
