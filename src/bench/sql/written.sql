-- Rows inserted, updated and deleted so far, by table.
SELECT relname::text AS name, (n_tup_ins + n_tup_upd + n_tup_del)::int8 AS rows FROM pg_stat_user_tables
