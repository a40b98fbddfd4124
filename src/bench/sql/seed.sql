-- Teams without a mirror, a thousand times faster than one by one: SELECT pg_temp.bench_seed(how many).
-- One statement for each table, because triggers look at the rows of those before.
CREATE FUNCTION pg_temp.bench_seed(count bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    platform bigint;
BEGIN
    INSERT INTO vz_platforms (base_url) VALUES ('https://platform.example') RETURNING id INTO platform;
    INSERT INTO teams (id, name, platform_id, owner_uid)
    SELECT n, 'Team ' || n, platform, 10000 + n FROM generate_series(1, count) n;
    INSERT INTO team_settings (team_id) SELECT n FROM generate_series(1, count) n;
    INSERT INTO team_credentials (team_id, sealed, key_id, state)
    SELECT n, '', 'bench', 'valid' FROM generate_series(1, count) n;
    INSERT INTO team_event_counters (team_id) SELECT n FROM generate_series(1, count) n;
    INSERT INTO vz_sync_states (team_id, scope, next_full_at, next_delta_at)
    SELECT n, scope, now() + interval '7 days', now() + interval '7 days'
    FROM generate_series(1, count) n, unnest(ARRAY['environments', 'archived_sites', 'job_logs']) scope;
END $$
