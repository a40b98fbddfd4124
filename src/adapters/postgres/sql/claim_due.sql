-- Claims states that may run now and ensures a queued job for each.
-- $1 int8: batch, $2 float8: re-dispatch delay in seconds, $3 int8, $4 int8: room in the normal and in the low lane
-- for states that nobody asked for.
-- Leases that ran out must have been freed before (free_expired.sql): their jobs still count as running.
-- statement_timestamp() and not clock_timestamp(): a volatile function cannot bound an index scan.
WITH due AS MATERIALIZED (
    -- Chosen without locks, per platform, so that states behind an open circuit are never even read. One index for
    -- each kind, so that a backlog of one kind is not read to find another. Of requests the longest due form a
    -- window, inside which the most urgent go first; what nobody asked for is read no further than there is room.
    SELECT c.place, c.class, c.deadline, c.room,
           row_number() OVER (PARTITION BY c.lane ORDER BY c.class DESC, c.deadline) AS turn
    FROM (
        -- A platform whose circuit may be probed gets one state, not a stampede.
        SELECT id, CASE WHEN circuit_state <> 'closed' THEN 1 END AS most
        FROM vz_platforms
        WHERE (open_until IS NULL OR open_until <= statement_timestamp())
          AND (SELECT enabled FROM rollout)
    ) p
    CROSS JOIN LATERAL (
        (SELECT s.ctid AS place, s.requested_class AS class, 'high' AS lane, $1::int8 AS room,
                least(s.next_full_at, s.next_delta_at, s.requested_at) AS deadline
         FROM vz_sync_states s
         WHERE s.platform_id = p.id AND s.requested_at IS NOT NULL AND s.due_at <= statement_timestamp()
         ORDER BY s.due_at LIMIT greatest($1::int8, 1000))
        UNION ALL
        -- Those that were put off and have waited: their turn had come once, so they do not stand behind a backlog.
        (SELECT s.ctid, CASE WHEN s.failures > 0 THEN 4 WHEN s.last_success_at IS NULL THEN 1 ELSE 3 END::smallint,
                CASE WHEN s.failures = 0 AND s.last_success_at IS NULL THEN 'low' ELSE 'normal' END,
                CASE WHEN s.failures = 0 AND s.last_success_at IS NULL THEN $4::int8 ELSE $3::int8 END,
                least(s.next_full_at, s.next_delta_at)
         FROM vz_sync_states s
         WHERE s.platform_id = p.id AND s.requested_at IS NULL AND s.not_before IS NOT NULL
           AND s.due_at <= statement_timestamp()
         ORDER BY s.due_at LIMIT least($1::int8, $3::int8 + $4::int8))
        UNION ALL
        (SELECT s.ctid, CASE WHEN s.failures > 0 THEN 4 ELSE 3 END::smallint, 'normal', $3::int8,
                least(s.next_full_at, s.next_delta_at)
         FROM vz_sync_states s
         WHERE s.platform_id = p.id AND s.requested_at IS NULL AND s.not_before IS NULL
           AND s.last_success_at IS NOT NULL AND s.due_at <= statement_timestamp()
         ORDER BY s.due_at LIMIT least($1::int8, $3::int8))
        UNION ALL
        (SELECT s.ctid, CASE WHEN s.failures > 0 THEN 4 ELSE 1 END::smallint, 'low', $4::int8,
                least(s.next_full_at, s.next_delta_at)
         FROM vz_sync_states s
         WHERE s.platform_id = p.id AND s.requested_at IS NULL AND s.not_before IS NULL
           AND s.last_success_at IS NULL AND s.due_at <= statement_timestamp()
         ORDER BY s.due_at LIMIT least($1::int8, $4::int8))
        ORDER BY class DESC, deadline LIMIT p.most
    ) c
), picked AS MATERIALIZED (
    SELECT place, class, deadline
    FROM due
    WHERE turn <= room
    ORDER BY class DESC, deadline
    LIMIT $1
), locked AS MATERIALIZED (
    -- By row address: a row that was rewritten since the snapshot no longer matches and is left for the next claim.
    SELECT s.ctid AS place, picked.class, picked.deadline
    FROM picked
    JOIN vz_sync_states s ON s.ctid = picked.place
    WHERE s.due_at <= statement_timestamp() AND s.lease_run IS NULL
    FOR UPDATE OF s SKIP LOCKED
), claimed AS (
    UPDATE vz_sync_states s
    SET dispatched_at = statement_timestamp(),
        redispatch_at = statement_timestamp() + $2::float8 * interval '1 second',
        status = 'queued',
        pending_reason = NULL,
        pending_message = NULL
    FROM locked
    WHERE s.ctid = locked.place
    RETURNING s.team_id, s.scope, s.requested_by, s.requested_environments, s.requested_trace,
              locked.class, locked.deadline
)
-- The state's row lock makes this the only writer of the scope's queued job.
INSERT INTO vz_sync_jobs AS j (team_id, scope, class, deadline, reason, requested_by, environments, trace_parent)
SELECT team_id, scope, class, deadline,
       CASE class WHEN 9 THEN 'manual' WHEN 6 THEN 'demand' WHEN 4 THEN 'retry' WHEN 3 THEN 'schedule' ELSE 'backfill' END,
       requested_by, requested_environments, requested_trace
FROM claimed
ON CONFLICT (team_id, scope) WHERE state = 'queued'
DO UPDATE SET class = greatest(j.class, excluded.class),
              deadline = least(j.deadline, excluded.deadline),
              published_at = NULL
RETURNING j.id, j.team_id, j.scope, j.class, j.deadline, j.trace_parent
