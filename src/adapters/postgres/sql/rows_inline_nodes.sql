-- The rows of an upsert, given as arrays; $4 to $21. Arrays of text arrays do not unnest: addresses come as literals.
WITH rows AS (
    SELECT u.id, u.environment_id, u.env_name, u.node_group, u.node_type, u.name, u.display_name, u.status, u.is_master,
           u.int_ip, u.ext_ips::text[] AS ext_ips, u.version, u.fixed_cloudlets, u.flexible_cloudlets, u.disk_limit_mb,
           u.payload, u.source_version, u.raw_version
    FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::int4[],
                $12::bool[], $13::text[], $14::text[], $15::text[], $16::int4[], $17::int4[], $18::int8[], $19::jsonb[],
                $20::bytea[], $21::bytea[])
        AS u(id, environment_id, env_name, node_group, node_type, name, display_name, status, is_master, int_ip, ext_ips,
             version, fixed_cloudlets, flexible_cloudlets, disk_limit_mb, payload, source_version, raw_version)
)
