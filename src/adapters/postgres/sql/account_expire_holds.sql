-- Open and decided removal sets of an account that is left say nothing of the next one. $1 int8: team.
UPDATE vz_sync_removal_holds
SET state = 'expired', rejected_until = NULL,
    decided_at = coalesce(decided_at, clock_timestamp()), decided_by = coalesce(decided_by, 'replaced account')
WHERE team_id = $1 AND state <> 'expired'
