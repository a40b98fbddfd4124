-- Releases or expires a hold by what listings show. $1 int8 team, $2 int8 hold, $3 text state.
UPDATE vz_sync_removal_holds SET state = $3, decided_at = coalesce(decided_at, clock_timestamp()), rejected_until = NULL
WHERE team_id = $1 AND id = $2 AND state <> 'expired'
