-- What changed and what was told: written in the transaction of the apply, read by tails with a cursor.

CREATE TABLE resource_changes (
    team_id     bigint NOT NULL,
    id          bigint NOT NULL,
    event_no    bigint NOT NULL,
    data_type   text NOT NULL CHECK (data_type IN ('environments', 'nodes', 'archived_sites', 'job_logs')),
    external_id text COLLATE "C" NOT NULL,
    op          text NOT NULL CHECK (op IN ('added', 'changed', 'missing', 'stale', 'returned', 'archived')),
    patch       jsonb,
    undo        jsonb,
    job_id      bigint NOT NULL,
    found_at    timestamptz NOT NULL,
    PRIMARY KEY (team_id, id, found_at)
) PARTITION BY RANGE (found_at);
CREATE INDEX resource_changes_row ON resource_changes (team_id, data_type, external_id, id DESC);
CREATE TABLE resource_changes_default PARTITION OF resource_changes DEFAULT;
COMMENT ON TABLE resource_changes IS 'Field-level changes, partitioned by month of found_at, kept 90 days. A team''s first load writes none.';
COMMENT ON COLUMN resource_changes.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN resource_changes.id IS 'Number within the team, in commit order and without gaps: the cursor of the change stream.';
COMMENT ON COLUMN resource_changes.event_no IS 'Event of the run that found it.';
COMMENT ON COLUMN resource_changes.data_type IS 'Table of the row.';
COMMENT ON COLUMN resource_changes.external_id IS 'Id of the row, as text.';
COMMENT ON COLUMN resource_changes.op IS 'What happened to the row.';
COMMENT ON COLUMN resource_changes.patch IS 'JSON Patch from the older payload to the newer.';
COMMENT ON COLUMN resource_changes.undo IS 'JSON Patch back; applied from now it gives the payload of an earlier moment.';
COMMENT ON COLUMN resource_changes.job_id IS 'Job that found it.';
COMMENT ON COLUMN resource_changes.found_at IS 'Database time at which the request that showed it was sent.';

COMMENT ON TABLE resource_changes_default IS 'Changes of a month without a partition of its own; empty while the Janitor runs.';
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT attname, attnum FROM pg_attribute WHERE attrelid = 'resource_changes'::regclass AND attnum > 0 LOOP
        EXECUTE format('COMMENT ON COLUMN resource_changes_default.%I IS %L', c.attname, col_description('resource_changes'::regclass, c.attnum));
    END LOOP;
END $$;

CREATE FUNCTION vz_ensure_change_partitions(at timestamptz DEFAULT now()) RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    month timestamptz;
    part  text;
BEGIN
    FOR month IN SELECT generate_series(date_trunc('month', at), date_trunc('month', at) + interval '2 months', interval '1 month') LOOP
        part := 'resource_changes_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE resource_changes INCLUDING ALL)', part);
        -- Rows that fell into the default partition would make ATTACH fail.
        EXECUTE format('WITH moved AS (DELETE FROM resource_changes_default WHERE found_at >= %L AND found_at < %L RETURNING *)
                        INSERT INTO %I SELECT * FROM moved', month, month + interval '1 month', part);
        EXECUTE format('ALTER TABLE resource_changes ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, month, month + interval '1 month');
        EXECUTE format('COMMENT ON TABLE %I IS %L', part, 'Changes found in ' || to_char(month, 'YYYY-MM') || ' (UTC).');
        RETURN NEXT part;
    END LOOP;
END $$;
COMMENT ON FUNCTION vz_ensure_change_partitions(timestamptz) IS 'Creates the partitions of this month and the next two; returns the new ones. Called by the Janitor.';

CREATE FUNCTION vz_drop_change_partitions(older_than timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    part text;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'resource_changes'::regclass
          AND c.relname ~ '^resource_changes_\d{4}_\d{2}$'
          AND to_timestamp(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= older_than
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        RETURN NEXT part;
    END LOOP;
END $$;
COMMENT ON FUNCTION vz_drop_change_partitions(timestamptz) IS 'Drops partitions that end before the given moment; returns their names. Called by the Janitor.';

SELECT vz_ensure_change_partitions();

CREATE TABLE sync_outbox (
    team_id      bigint NOT NULL,
    event_no     bigint NOT NULL,
    event_type   text NOT NULL CHECK (event_type IN ('sync.completed', 'sync.failed', 'removals.held')),
    job_id       bigint,
    scope        text CHECK (scope IN ('environments', 'archived_sites', 'job_logs')),
    payload      jsonb NOT NULL,
    trace_parent text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    relayed_at   timestamptz,
    PRIMARY KEY (team_id, event_no)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX sync_outbox_one_end ON sync_outbox (job_id) WHERE event_type IN ('sync.completed', 'sync.failed') AND job_id IS NOT NULL;
CREATE INDEX sync_outbox_unrelayed ON sync_outbox (created_at, team_id, event_no) WHERE relayed_at IS NULL;
CREATE INDEX sync_outbox_age ON sync_outbox (created_at);
COMMENT ON TABLE sync_outbox IS 'Events told to subscribers, numbered per team without gaps, kept 7 days.';
COMMENT ON COLUMN sync_outbox.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN sync_outbox.event_no IS 'Number within the team, in commit order; the SSE id.';
COMMENT ON COLUMN sync_outbox.event_type IS 'What is told.';
COMMENT ON COLUMN sync_outbox.job_id IS 'Job it is about; a job has at most one terminal event.';
COMMENT ON COLUMN sync_outbox.scope IS 'Scope it is about.';
COMMENT ON COLUMN sync_outbox.payload IS 'Body of the event, as sent.';
COMMENT ON COLUMN sync_outbox.trace_parent IS 'W3C traceparent of the run.';
COMMENT ON COLUMN sync_outbox.created_at IS 'When it was written, after the team''s counter was locked: within a team it follows event_no.';
COMMENT ON COLUMN sync_outbox.relayed_at IS 'When the job bus confirmed it.';

CREATE TABLE sync_outbox_relay (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    lease_owner uuid,
    lease_until timestamptz,
    CHECK (num_nonnulls(lease_owner, lease_until) IN (0, 2))
) WITH (fillfactor = 20);
INSERT INTO sync_outbox_relay DEFAULT VALUES;
COMMENT ON TABLE sync_outbox_relay IS 'One row: which replica relays the outbox.';
COMMENT ON COLUMN sync_outbox_relay.singleton IS 'Always true; keeps the table at one row.';
COMMENT ON COLUMN sync_outbox_relay.lease_owner IS 'Boot id of the relaying replica.';
COMMENT ON COLUMN sync_outbox_relay.lease_until IS 'End of its lease unless renewed.';

CREATE UNLOGGED TABLE sync_staging (
    lease_run          uuid NOT NULL,
    data_type          text NOT NULL CHECK (data_type IN ('environments', 'nodes', 'job_logs')),
    seq                bigint NOT NULL,
    staged_at          timestamptz NOT NULL DEFAULT now(),
    team_id            bigint NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('insert', 'update', 'return')),
    env_name           text COLLATE "C",
    short_domain       text,
    domain             text,
    display_name       text,
    status             integer,
    owner_uid          bigint,
    creator_uid        bigint,
    region             text,
    groups             text[],
    ha                 boolean,
    ssl                boolean,
    created_on         timestamptz,
    environment_id     text COLLATE "C",
    node_group         text,
    node_type          text,
    name               text,
    is_master          boolean,
    int_ip             text,
    ext_ips            text[],
    version            text,
    fixed_cloudlets    integer,
    flexible_cloudlets integer,
    disk_limit_mb      bigint,
    action             text,
    result             integer,
    started_at         timestamptz,
    finished_at        timestamptz,
    user_uid           bigint,
    user_login         text,
    payload            jsonb NOT NULL,
    source_version     bytea NOT NULL,
    raw_version        bytea,
    outline_version    bytea,
    patch              jsonb,
    undo               jsonb
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX sync_staging_run ON sync_staging (lease_run, data_type);
COMMENT ON TABLE sync_staging IS 'Changed rows of big runs, copied in during the stream and flipped by the apply. Lost in a crash of the server, as it may be: the run is lost too.';
COMMENT ON COLUMN sync_staging.lease_run IS 'Run that staged it.';
COMMENT ON COLUMN sync_staging.data_type IS 'Table it is meant for.';
COMMENT ON COLUMN sync_staging.seq IS 'Order of arrival: of two rows with one id the last wins.';
COMMENT ON COLUMN sync_staging.staged_at IS 'When it was staged, for the sweep of orphans.';
COMMENT ON COLUMN sync_staging.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN sync_staging.id IS 'See the target table.';
COMMENT ON COLUMN sync_staging.kind IS 'What the row does to its table.';
COMMENT ON COLUMN sync_staging.env_name IS 'See the target table.';
COMMENT ON COLUMN sync_staging.short_domain IS 'See the target table.';
COMMENT ON COLUMN sync_staging.domain IS 'See the target table.';
COMMENT ON COLUMN sync_staging.display_name IS 'See the target table.';
COMMENT ON COLUMN sync_staging.status IS 'See the target table.';
COMMENT ON COLUMN sync_staging.owner_uid IS 'See the target table.';
COMMENT ON COLUMN sync_staging.creator_uid IS 'See the target table.';
COMMENT ON COLUMN sync_staging.region IS 'See the target table.';
COMMENT ON COLUMN sync_staging.groups IS 'See the target table.';
COMMENT ON COLUMN sync_staging.ha IS 'See the target table.';
COMMENT ON COLUMN sync_staging.ssl IS 'See the target table.';
COMMENT ON COLUMN sync_staging.created_on IS 'See the target table.';
COMMENT ON COLUMN sync_staging.environment_id IS 'See the target table.';
COMMENT ON COLUMN sync_staging.node_group IS 'See the target table.';
COMMENT ON COLUMN sync_staging.node_type IS 'See the target table.';
COMMENT ON COLUMN sync_staging.name IS 'See the target table.';
COMMENT ON COLUMN sync_staging.is_master IS 'See the target table.';
COMMENT ON COLUMN sync_staging.int_ip IS 'See the target table.';
COMMENT ON COLUMN sync_staging.ext_ips IS 'See the target table.';
COMMENT ON COLUMN sync_staging.version IS 'See the target table.';
COMMENT ON COLUMN sync_staging.fixed_cloudlets IS 'See the target table.';
COMMENT ON COLUMN sync_staging.flexible_cloudlets IS 'See the target table.';
COMMENT ON COLUMN sync_staging.disk_limit_mb IS 'See the target table.';
COMMENT ON COLUMN sync_staging.action IS 'See the target table.';
COMMENT ON COLUMN sync_staging.result IS 'See the target table.';
COMMENT ON COLUMN sync_staging.started_at IS 'See the target table.';
COMMENT ON COLUMN sync_staging.finished_at IS 'See the target table.';
COMMENT ON COLUMN sync_staging.user_uid IS 'See the target table.';
COMMENT ON COLUMN sync_staging.user_login IS 'See the target table.';
COMMENT ON COLUMN sync_staging.payload IS 'See the target table.';
COMMENT ON COLUMN sync_staging.source_version IS 'See the target table.';
COMMENT ON COLUMN sync_staging.raw_version IS 'See the target table.';
COMMENT ON COLUMN sync_staging.outline_version IS 'See the target table.';
COMMENT ON COLUMN sync_staging.patch IS 'Change row of an update: see resource_changes.patch; null for an insert.';
COMMENT ON COLUMN sync_staging.undo IS 'See resource_changes.undo.';

CREATE TABLE idempotency_keys (
    team_id     bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    key         text NOT NULL CHECK (length(key) <= 255),
    body_hash   bytea NOT NULL,
    status_code smallint NOT NULL,
    response    jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
COMMENT ON TABLE idempotency_keys IS 'Answers to triggers that carried an Idempotency-Key, kept 24 hours.';
COMMENT ON COLUMN idempotency_keys.team_id IS 'The team.';
COMMENT ON COLUMN idempotency_keys.key IS 'The header''s value.';
COMMENT ON COLUMN idempotency_keys.body_hash IS 'sha256 of the canonical request; another one under the same key is refused.';
COMMENT ON COLUMN idempotency_keys.status_code IS 'HTTP status of the answer.';
COMMENT ON COLUMN idempotency_keys.response IS 'Body of the answer.';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When the trigger was accepted, in the same transaction.';

CREATE TABLE sse_tickets (
    ticket_hash      bytea PRIMARY KEY,
    team_id          bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    subject          text NOT NULL,
    role             text NOT NULL CHECK (role IN ('owner', 'manager', 'developer')),
    token_expires_at timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX sse_tickets_age ON sse_tickets (expires_at);
COMMENT ON TABLE sse_tickets IS 'Single-use tickets for EventSource, consumed by DELETE ... RETURNING.';
COMMENT ON COLUMN sse_tickets.ticket_hash IS 'sha256 of the ticket; the ticket itself is not stored.';
COMMENT ON COLUMN sse_tickets.team_id IS 'Team whose events it opens.';
COMMENT ON COLUMN sse_tickets.subject IS 'Subject of the token it was made with.';
COMMENT ON COLUMN sse_tickets.role IS 'Role of that subject in the team.';
COMMENT ON COLUMN sse_tickets.token_expires_at IS 'Expiry of that token: the stream ends with it.';
COMMENT ON COLUMN sse_tickets.expires_at IS 'Last moment at which the ticket opens a stream.';
