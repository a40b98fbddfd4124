-- The role outlives this database: it belongs to the whole cluster, so no downgrade drops it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vz_reader') THEN
        CREATE ROLE vz_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- Made at the same moment from another database of the cluster.
END $$;
GRANT USAGE ON SCHEMA vz_api TO vz_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA vz_api TO vz_reader;
