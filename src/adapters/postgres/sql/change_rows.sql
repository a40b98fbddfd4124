-- $1 int8 team, $2 int8 first number, $3 int8 event, $4 int8 job, $5 timestamptz found, $6 text[] tables, $7 text[] ids,
-- $8 text[] ops, $9 jsonb[] patches, $10 jsonb[] undos.
INSERT INTO resource_changes (team_id, id, event_no, data_type, external_id, op, patch, undo, job_id, found_at)
SELECT $1, $2 + c.place - 1, $3, c.data_type, c.id, c.op, c.patch, c.undo, $4, $5
FROM unnest($6::text[], $7::text[], $8::text[], $9::jsonb[], $10::jsonb[])
    WITH ORDINALITY AS c(data_type, id, op, patch, undo, place)
