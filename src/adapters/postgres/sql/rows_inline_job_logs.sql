-- The rows of an upsert, given as arrays; $4 to $15.
WITH rows AS (
    SELECT * FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::int4[], $9::timestamptz[], $10::timestamptz[],
                         $11::int8[], $12::text[], $13::jsonb[], $14::bytea[], $15::bytea[])
        AS u(id, environment_id, env_name, action, result, started_at, finished_at, user_uid, user_login, payload,
             source_version, raw_version)
)
