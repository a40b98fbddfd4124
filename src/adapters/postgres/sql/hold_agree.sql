-- $1 int8 team, $2 int8 hold, $3 timestamptz sent.
UPDATE vz_sync_removal_holds SET agreeing_listings = agreeing_listings + 1, last_agreed_at = $3
WHERE team_id = $1 AND id = $2 AND state = 'held'
