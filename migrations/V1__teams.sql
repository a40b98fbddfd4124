-- Who is synchronised, with which platform, by which replicas, and under which installation-wide switches.

COMMENT ON TABLE refinery_schema_history IS 'Applied migrations, written by the migrator alone.';
COMMENT ON COLUMN refinery_schema_history.version IS 'Number of the migration file.';
COMMENT ON COLUMN refinery_schema_history.name IS 'Name part of the migration file.';
COMMENT ON COLUMN refinery_schema_history.applied_on IS 'When it was applied, RFC 3339 text.';
COMMENT ON COLUMN refinery_schema_history.checksum IS 'Checksum of the file as applied; another one stops the migrator.';

CREATE TABLE vz_platforms (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    base_url             text NOT NULL UNIQUE,
    circuit_state        text NOT NULL DEFAULT 'closed' CHECK (circuit_state IN ('closed', 'open', 'half_open')),
    consecutive_failures integer NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    opened_at            timestamptz,
    open_until           timestamptz,
    probe_owner          uuid,
    next_token_at        timestamptz,
    rate_per_second      real CHECK (rate_per_second > 0),
    last_error           text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    CHECK ((circuit_state = 'closed') = (open_until IS NULL)),
    CHECK (probe_owner IS NULL OR circuit_state = 'half_open')
) WITH (fillfactor = 50);
COMMENT ON TABLE vz_platforms IS 'Virtuozzo platforms, with the circuit and throttle state that every replica shares.';
COMMENT ON COLUMN vz_platforms.id IS 'Number used by teams and states.';
COMMENT ON COLUMN vz_platforms.base_url IS 'Scheme, host and port of the platform, without a trailing slash.';
COMMENT ON COLUMN vz_platforms.circuit_state IS 'closed: called freely; open: not called before open_until; half_open: one probe is out.';
COMMENT ON COLUMN vz_platforms.consecutive_failures IS 'Connection-level failures since the last answer of any kind.';
COMMENT ON COLUMN vz_platforms.opened_at IS 'When the circuit left closed; null while closed.';
COMMENT ON COLUMN vz_platforms.open_until IS 'Until when nothing is claimed for this platform; in half_open the deadline of the probe.';
COMMENT ON COLUMN vz_platforms.probe_owner IS 'Boot id of the replica that won the half-open probe.';
COMMENT ON COLUMN vz_platforms.next_token_at IS 'No request before this moment: the platform answered 429 or 503 with Retry-After.';
COMMENT ON COLUMN vz_platforms.rate_per_second IS 'Requests per second over all replicas; null takes the configured limit.';
COMMENT ON COLUMN vz_platforms.last_error IS 'What opened the circuit, without secrets.';
COMMENT ON COLUMN vz_platforms.created_at IS 'When the first team of this platform was added.';

CREATE TABLE replicas (
    boot_id      uuid PRIMARY KEY,
    host         text NOT NULL,
    version      text NOT NULL,
    permits      integer NOT NULL CHECK (permits >= 0),
    running      integer NOT NULL DEFAULT 0 CHECK (running >= 0),
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    stopping_at  timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE replicas IS 'Processes of this service; a lease is live only while its owner''s heartbeat is young.';
COMMENT ON COLUMN replicas.boot_id IS 'Random id of one process start: a restarted process owns no earlier lease.';
COMMENT ON COLUMN replicas.host IS 'Host name, for people.';
COMMENT ON COLUMN replicas.version IS 'Version of the binary.';
COMMENT ON COLUMN replicas.permits IS 'Jobs this replica runs at once.';
COMMENT ON COLUMN replicas.running IS 'Jobs it ran at its last heartbeat.';
COMMENT ON COLUMN replicas.started_at IS 'When it started.';
COMMENT ON COLUMN replicas.heartbeat_at IS 'Last heartbeat, database time.';
COMMENT ON COLUMN replicas.stopping_at IS 'When it began to shut down; it leases nothing after that.';

CREATE TABLE installation (
    singleton              boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    installation_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    raw_version_key_sealed bytea NOT NULL,
    raw_version_key_id     text NOT NULL,
    created_at             timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE installation IS 'One row: what all replicas of this installation share.';
COMMENT ON COLUMN installation.singleton IS 'Always true; keeps the table at one row.';
COMMENT ON COLUMN installation.installation_id IS 'Names this installation in logs and in the additional data of sealed values.';
COMMENT ON COLUMN installation.raw_version_key_sealed IS 'The raw_version HMAC key, sealed by the key ring.';
COMMENT ON COLUMN installation.raw_version_key_id IS 'Id of the master key that sealed it.';
COMMENT ON COLUMN installation.created_at IS 'When the first replica made it.';

CREATE TABLE freshness_defaults (
    data_type                     text COLLATE "C" PRIMARY KEY CHECK (data_type IN ('environments', 'nodes', 'archived_sites', 'job_logs')),
    max_allowed_staleness_seconds integer NOT NULL CHECK (max_allowed_staleness_seconds > 0)
);
COMMENT ON TABLE freshness_defaults IS 'Configured age limit per data type, written by the binary at start so that SQL readers judge as the HTTP API does.';
COMMENT ON COLUMN freshness_defaults.data_type IS 'Mirrored table the limit is for.';
COMMENT ON COLUMN freshness_defaults.max_allowed_staleness_seconds IS 'Age in seconds from which an answer is stale.';
INSERT INTO freshness_defaults VALUES ('environments', 900), ('nodes', 900), ('job_logs', 1800), ('archived_sites', 7200);

CREATE TABLE rollout (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    enabled    boolean NOT NULL DEFAULT false,
    everyone   boolean NOT NULL DEFAULT true,
    percent    smallint NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    cohorts    text[] NOT NULL DEFAULT '{}',
    team_ids   bigint[] NOT NULL DEFAULT '{}',
    seeded_at  timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text
);
COMMENT ON TABLE rollout IS 'One row: whether the pipeline runs and for which teams; configuration only seeds it.';
COMMENT ON COLUMN rollout.singleton IS 'Always true; keeps the table at one row.';
COMMENT ON COLUMN rollout.enabled IS 'The pipeline as a whole (ENABLE_VZ_SYNC_PIPELINE); false claims nothing.';
COMMENT ON COLUMN rollout.everyone IS 'All teams, whatever the rest says.';
COMMENT ON COLUMN rollout.percent IS 'Share of teams let in by a stable hash of their id.';
COMMENT ON COLUMN rollout.cohorts IS 'Cohorts let in by name.';
COMMENT ON COLUMN rollout.team_ids IS 'Teams let in by id.';
COMMENT ON COLUMN rollout.seeded_at IS 'When configuration filled the row; null until then.';
COMMENT ON COLUMN rollout.updated_at IS 'Last change.';
COMMENT ON COLUMN rollout.updated_by IS 'Who changed it last.';
INSERT INTO rollout DEFAULT VALUES;

CREATE TABLE teams (
    id          bigint PRIMARY KEY CHECK (id > 0),
    name        text NOT NULL,
    platform_id bigint NOT NULL REFERENCES vz_platforms (id),
    owner_uid   bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);
CREATE INDEX teams_platform ON teams (platform_id);
CREATE INDEX teams_deleted ON teams (deleted_at) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE teams IS 'Tenants; each owns one platform account.';
COMMENT ON COLUMN teams.id IS 'The dashboard''s own team id.';
COMMENT ON COLUMN teams.name IS 'Name for people.';
COMMENT ON COLUMN teams.platform_id IS 'Platform of the account.';
COMMENT ON COLUMN teams.owner_uid IS 'Platform uid of the account''s Owner; elements of another uid are shared, not ours. Null until a key was validated.';
COMMENT ON COLUMN teams.created_at IS 'When the team was added.';
COMMENT ON COLUMN teams.deleted_at IS 'When the team was deleted; its rows are purged 30 days later.';

CREATE TABLE team_credentials (
    team_id       bigint PRIMARY KEY REFERENCES teams (id) ON DELETE CASCADE,
    sealed        bytea NOT NULL,
    key_id        text NOT NULL,
    generation    bigint NOT NULL DEFAULT 1 CHECK (generation > 0),
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'valid', 'rejected', 'unreadable')),
    set_by        text,
    set_at        timestamptz NOT NULL DEFAULT now(),
    validated_at  timestamptz,
    next_probe_at timestamptz
);
CREATE INDEX team_credentials_probe ON team_credentials (next_probe_at) WHERE next_probe_at IS NOT NULL;
CREATE INDEX team_credentials_key ON team_credentials (key_id);
COMMENT ON TABLE team_credentials IS 'Sealed session keys of the teams'' Owners; the row is erased with its team.';
COMMENT ON COLUMN team_credentials.team_id IS 'Team the key belongs to; part of the additional data of the seal.';
COMMENT ON COLUMN team_credentials.sealed IS 'XChaCha20-Poly1305 envelope of the session key or access token.';
COMMENT ON COLUMN team_credentials.key_id IS 'Id of the master key that sealed it, for rotation.';
COMMENT ON COLUMN team_credentials.generation IS 'Raised with each replaced key: a failure seen with an older key does not pause the team.';
COMMENT ON COLUMN team_credentials.state IS 'pending: not tried yet; valid; rejected by the platform; unreadable with the current key ring.';
COMMENT ON COLUMN team_credentials.set_by IS 'Subject of the token that set it.';
COMMENT ON COLUMN team_credentials.set_at IS 'When it was set.';
COMMENT ON COLUMN team_credentials.validated_at IS 'When the platform last accepted it.';
COMMENT ON COLUMN team_credentials.next_probe_at IS 'When a rejected key is tried again (hourly); null while not rejected.';

CREATE TABLE team_settings (
    team_id             bigint PRIMARY KEY REFERENCES teams (id) ON DELETE CASCADE,
    paused_at           timestamptz,
    paused_by           text,
    paused_reason       text,
    auth_failed_at      timestamptz,
    auth_failed_reason  text,
    cohorts             text[] NOT NULL DEFAULT '{}',
    in_rollout          boolean NOT NULL DEFAULT true,
    has_key             boolean NOT NULL DEFAULT false,
    trigger_tokens      real CHECK (trigger_tokens >= 0),
    trigger_refilled_at timestamptz,
    CHECK (paused_at IS NOT NULL OR num_nonnulls(paused_by, paused_reason) = 0),
    CHECK (auth_failed_at IS NOT NULL OR auth_failed_reason IS NULL)
) WITH (fillfactor = 70);
COMMENT ON TABLE team_settings IS 'Pause, rollout and trigger allowance of a team. What concerns one scope stands in vz_sync_states, one data type in vz_sync_data_types.';
COMMENT ON COLUMN team_settings.team_id IS 'The team.';
COMMENT ON COLUMN team_settings.paused_at IS 'Since when people paused the team; independent of auth_failed_at, so a new key does not undo a pause.';
COMMENT ON COLUMN team_settings.paused_by IS 'Subject of the token that paused it.';
COMMENT ON COLUMN team_settings.paused_reason IS 'Reason given, for people.';
COMMENT ON COLUMN team_settings.auth_failed_at IS 'Since when the platform refuses the key; cleared by a new key or a successful probe.';
COMMENT ON COLUMN team_settings.auth_failed_reason IS 'What the platform answered, without secrets.';
COMMENT ON COLUMN team_settings.cohorts IS 'Cohorts it belongs to, for the rollout.';
COMMENT ON COLUMN team_settings.in_rollout IS 'Derived from rollout by triggers: whether the team is let in.';
COMMENT ON COLUMN team_settings.has_key IS 'Derived from team_credentials by triggers: whether a key is stored.';
COMMENT ON COLUMN team_settings.trigger_tokens IS 'Manual triggers left in the team''s token bucket; null is full.';
COMMENT ON COLUMN team_settings.trigger_refilled_at IS 'When trigger_tokens was last computed.';

CREATE TABLE team_event_counters (
    team_id        bigint PRIMARY KEY REFERENCES teams (id) ON DELETE CASCADE,
    last_event_no  bigint NOT NULL DEFAULT 0 CHECK (last_event_no >= 0),
    last_change_no bigint NOT NULL DEFAULT 0 CHECK (last_change_no >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE team_event_counters IS 'Last event and change number of a team. Its row lock is taken last in an apply, so commit order is number order.';
COMMENT ON COLUMN team_event_counters.team_id IS 'The team.';
COMMENT ON COLUMN team_event_counters.last_event_no IS 'Number of the team''s newest event.';
COMMENT ON COLUMN team_event_counters.last_change_no IS 'Number of the team''s newest change row.';

CREATE FUNCTION vz_is_in_rollout(team bigint, team_cohorts text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT r.everyone
        OR team = ANY (r.team_ids)
        OR team_cohorts && r.cohorts
        OR ('x' || substr(md5('vz-rollout/' || team), 1, 8))::bit(32)::bigint % 100 < r.percent
    FROM rollout r
$$;
COMMENT ON FUNCTION vz_is_in_rollout(bigint, text[]) IS 'The rollout rule, in one place: everyone, list, cohort, or percentage by a hash that does not change between versions.';

CREATE FUNCTION vz_settings_enter() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- The share lock makes a concurrent rollout change wait, so that it finds this row.
    PERFORM 1 FROM rollout FOR SHARE;
    NEW.in_rollout := vz_is_in_rollout(NEW.team_id, NEW.cohorts);
    IF TG_OP = 'INSERT' THEN
        NEW.has_key := EXISTS (SELECT FROM team_credentials c WHERE c.team_id = NEW.team_id);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION vz_settings_enter() IS 'Computes in_rollout (and has_key) for a new team or new cohorts.';
CREATE TRIGGER team_settings_rollout BEFORE INSERT OR UPDATE OF cohorts ON team_settings
    FOR EACH ROW EXECUTE FUNCTION vz_settings_enter();

CREATE FUNCTION vz_rollout_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE team_settings SET in_rollout = NOT in_rollout
    WHERE in_rollout IS DISTINCT FROM vz_is_in_rollout(team_id, cohorts);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION vz_rollout_changed() IS 'Lets teams in and out when the rollout changes.';
CREATE TRIGGER rollout_changed AFTER UPDATE OF everyone, percent, cohorts, team_ids ON rollout
    FOR EACH ROW EXECUTE FUNCTION vz_rollout_changed();

CREATE FUNCTION vz_key_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE team_settings SET has_key = (TG_OP = 'INSERT')
    WHERE team_id = CASE TG_OP WHEN 'INSERT' THEN NEW.team_id ELSE OLD.team_id END;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION vz_key_changed() IS 'Notes that a team has a key, or has none any more.';
CREATE TRIGGER team_credentials_key AFTER INSERT OR DELETE ON team_credentials
    FOR EACH ROW EXECUTE FUNCTION vz_key_changed();
