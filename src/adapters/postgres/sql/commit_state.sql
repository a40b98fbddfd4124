-- The state after a commit. The caller holds its row, and has forgotten the request if it was answered.
-- $1 int8 team, $2 text scope, $3 int8 fence, $4 uuid run, $5 timestamptz next full, $6 timestamptz next delta,
-- $7 text mode, $8 jsonb cursor (null: keep), $9 bool a full that was complete,
-- and the doubt: $10 class (null: none), $11 code, $12 text, $13 float8 wait in seconds, $14 text sustained: no, warn or
-- pause. $15 jsonb what the key is refused.
UPDATE vz_sync_states
SET committed_fence = $3, committed_run = $4,
    lease_owner = NULL, lease_run = NULL, lease_until = NULL, lease_job_id = NULL,
    dispatched_at = NULL, redispatch_at = NULL,
    next_full_at = $5, next_delta_at = $6, cursor = coalesce($8::jsonb, cursor),
    capabilities = $15::jsonb,
    last_success_at = clock_timestamp(), last_finished_at = clock_timestamp(), last_mode = $7,
    last_full_at = CASE WHEN $9 THEN clock_timestamp() ELSE last_full_at END,
    failures = CASE WHEN $10::text IS NULL THEN 0 ELSE failures + 1 END,
    failing_since = CASE WHEN $10::text IS NOT NULL THEN coalesce(failing_since, clock_timestamp()) END,
    pause_warned_at = CASE WHEN $10::text IS NULL THEN NULL WHEN $14 = 'no' THEN pause_warned_at
                           ELSE coalesce(pause_warned_at, clock_timestamp()) END,
    paused_at = CASE WHEN $14 = 'pause' THEN coalesce(paused_at, clock_timestamp()) ELSE paused_at END,
    last_error_class = $10, last_error_code = $11, last_error = $12,
    not_before = CASE WHEN $10::text IS NOT NULL THEN clock_timestamp() + $13::float8 * interval '1 second' END,
    not_before_reason = CASE WHEN $10::text IS NOT NULL THEN 'partial' END,
    status = CASE WHEN $14 = 'pause' THEN 'paused' WHEN $10::text IS NOT NULL THEN 'retrying' WHEN requested_at IS NOT NULL THEN 'queued' ELSE 'idle' END,
    pending_reason = CASE WHEN $14 = 'pause' THEN 'failing' WHEN $10::text IS NOT NULL THEN $11 END,
    pending_message = CASE WHEN $10::text IS NOT NULL THEN $12 END
WHERE team_id = $1 AND scope = $2
RETURNING due_at <= clock_timestamp() AS runnable_again
