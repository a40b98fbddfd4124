-- Nothing of the new account was verified yet. $1 int8: team, $2 int8: fence.
UPDATE vz_sync_data_types
SET verified_at = NULL, verified_by = NULL, complete_at = NULL, body_hash = NULL, body_fence = NULL,
    applied_fence = CASE WHEN scope = 'environments' THEN greatest(applied_fence, $2) ELSE applied_fence END,
    rows_total = CASE WHEN scope = 'environments' THEN 0 ELSE rows_total END,
    rows_flagged = CASE WHEN scope = 'environments' THEN 0 ELSE rows_flagged END,
    rows_shared = 0
WHERE team_id = $1
