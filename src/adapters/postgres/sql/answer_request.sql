-- Forgets the request that a run answered for good, and with it the follow-up that was queued for it. What was asked
-- for after the bound stands. The caller holds the state's row.
-- $1 int8 team, $2 text scope, $3 int8 job, $4 timestamptz bound.
WITH answered AS (
    UPDATE vz_sync_states
    SET requested_at = NULL, requested_mode = NULL, requested_class = NULL, requested_by = NULL,
        requested_environments = NULL, requested_trace = NULL
    WHERE team_id = $1 AND scope = $2 AND (requested_at IS NULL OR requested_at <= $4)
    RETURNING team_id, scope
)
UPDATE vz_sync_jobs j
SET state = 'superseded', satisfied_by_job_id = $3, finished_at = clock_timestamp(), published_at = NULL
FROM answered
WHERE j.team_id = answered.team_id AND j.scope = answered.scope AND j.state = 'queued' AND j.id <> $3
