-- $1 int8 team, $2 text scope, $3 int8 fence, $4 uuid run.
SELECT committed_fence = $3 AND committed_run = $4 AS committed FROM vz_sync_states WHERE team_id = $1 AND scope = $2
