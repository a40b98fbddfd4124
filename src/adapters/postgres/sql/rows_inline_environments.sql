-- The rows of an upsert, given as arrays; $4 to $20. Arrays of text arrays do not unnest: groups come as literals.
WITH rows AS (
    SELECT u.id, u.env_name, u.short_domain, u.domain, u.display_name, u.status, u.owner_uid, u.creator_uid, u.region,
           u.groups::text[] AS groups, u.ha, u.ssl, u.created_on, u.outline_version, u.payload, u.source_version, u.raw_version
    FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int4[], $10::int8[], $11::int8[],
                $12::text[], $13::text[], $14::bool[], $15::bool[], $16::timestamptz[], $17::bytea[], $18::jsonb[],
                $19::bytea[], $20::bytea[])
        AS u(id, env_name, short_domain, domain, display_name, status, owner_uid, creator_uid, region, groups, ha, ssl,
             created_on, outline_version, payload, source_version, raw_version)
)
