-- Numbers and writes the events of a transaction: the last row lock it takes, so commit order is number order.
-- $1 int8 team, $2 int8 change rows to number, $3 text[] types, $4 int8[] jobs, $5 text[] scopes,
-- $6 jsonb[] bodies, $7 text[] trace parents.
WITH counted AS (
    INSERT INTO team_event_counters AS c (team_id, last_event_no, last_change_no)
    VALUES ($1, cardinality($3::text[]), $2)
    ON CONFLICT (team_id) DO UPDATE
    SET last_event_no = c.last_event_no + cardinality($3::text[]), last_change_no = c.last_change_no + $2
    RETURNING last_event_no - cardinality($3::text[]) AS event_no, last_change_no - $2 AS change_no
), told AS (
    INSERT INTO sync_outbox (team_id, event_no, event_type, job_id, scope, payload, trace_parent)
    SELECT $1, counted.event_no + e.place, e.type, e.job, e.scope, e.body, e.trace
    FROM counted,
         unnest($3::text[], $4::int8[], $5::text[], $6::jsonb[], $7::text[])
             WITH ORDINALITY AS e(type, job, scope, body, trace, place)
    RETURNING 1
)
SELECT event_no + 1 AS first_event, change_no + 1 AS first_change, pg_notify('vz_sync', 'outbox:' || $1::int8) FROM counted
