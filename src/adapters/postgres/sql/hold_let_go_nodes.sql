-- A hold on nodes names the environments that fell to none. $1 int8 team, $2 int8 hold.
UPDATE nodes t SET held = false
WHERE t.team_id = $1 AND t.held
  AND t.environment_id IN (SELECT i.external_id FROM vz_sync_removal_hold_items i WHERE i.team_id = $1 AND i.hold_id = $2)
