-- Notes a request at each scope that takes one, and ensures its queued job.
-- $1 int8 team, $2 text[] scopes, $3 int2 class, $4 text mode or null, $5 text[] environments, $6 text by,
-- $7 text trace parent or null, $8 float8 demand interval in seconds.
WITH taken AS MATERIALIZED (
    SELECT s.team_id, s.scope,
           coalesce(s.requested_class,
                    CASE WHEN s.failures > 0 THEN 4 WHEN s.last_success_at IS NULL THEN 1 ELSE 3 END) AS class_before
    FROM vz_sync_states s
    WHERE s.team_id = $1 AND s.scope = ANY ($2::text[]) AND s.enabled AND s.paused_at IS NULL
      AND ($3::int2 = 9 OR s.demand_at IS NULL
           OR s.demand_at + $8::float8 * interval '1 second' <= clock_timestamp())
    ORDER BY s.scope
    FOR NO KEY UPDATE
), noted AS (
    UPDATE vz_sync_states s
    SET -- A run in flight may have asked the platform before this wish: only a younger wish outlives it.
        requested_at = CASE WHEN s.requested_at IS NULL OR s.lease_run IS NOT NULL THEN clock_timestamp() ELSE s.requested_at END,
        requested_class = greatest(s.requested_class, $3::int2),
        requested_by = CASE WHEN s.requested_class > $3::int2 THEN s.requested_by ELSE $6 END,
        requested_mode = CASE WHEN 'full' IN (s.requested_mode, $4::text) THEN 'full' ELSE coalesce($4::text, s.requested_mode) END,
        requested_environments = nullif(coalesce(s.requested_environments, '{}') || ARRAY (
            SELECT e.name FROM unnest($5::text[]) WITH ORDINALITY AS e(name, place)
            WHERE e.name <> ALL (coalesce(s.requested_environments, '{}')) ORDER BY e.place), '{}'),
        requested_trace = coalesce($7::text, s.requested_trace),
        demand_at = CASE WHEN $3::int2 = 9 THEN s.demand_at ELSE clock_timestamp() END,
        not_before = CASE WHEN $3::int2 = 9 AND s.not_before_reason IN ('backoff', 'partial', 'collision', 'catch_up')
                          THEN NULL ELSE s.not_before END,
        not_before_reason = CASE WHEN $3::int2 = 9 AND s.not_before_reason IN ('backoff', 'partial', 'collision', 'catch_up')
                                 THEN NULL ELSE s.not_before_reason END,
        -- Dispatched already, but now it is worth a better place in the queue.
        dispatched_at = CASE WHEN s.lease_run IS NULL AND $3::int2 > taken.class_before THEN NULL ELSE s.dispatched_at END,
        redispatch_at = CASE WHEN s.lease_run IS NULL AND $3::int2 > taken.class_before THEN NULL ELSE s.redispatch_at END
    FROM taken
    WHERE s.team_id = taken.team_id AND s.scope = taken.scope
    RETURNING s.team_id, s.scope, s.requested_environments, s.requested_at
)
INSERT INTO vz_sync_jobs AS j (team_id, scope, class, deadline, reason, requested_by, environments, trace_parent)
SELECT team_id, scope, $3::int2, requested_at, CASE WHEN $3::int2 = 9 THEN 'manual' ELSE 'demand' END, $6,
       requested_environments, $7::text
FROM noted
ORDER BY scope
ON CONFLICT (team_id, scope) WHERE state = 'queued'
DO UPDATE SET class = greatest(j.class, excluded.class),
              requested_by = CASE WHEN excluded.class > j.class THEN excluded.requested_by ELSE j.requested_by END,
              reason = CASE WHEN excluded.class > j.class THEN excluded.reason ELSE j.reason END,
              environments = excluded.environments,
              deadline = least(j.deadline, excluded.deadline),
              trace_parent = coalesce(excluded.trace_parent, j.trace_parent)
-- xmax is zero only in a row that this statement inserted.
RETURNING j.scope, j.id, j.xmax <> 0 AS coalesced
