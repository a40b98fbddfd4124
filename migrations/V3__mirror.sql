-- The mirror. No foreign keys on these tables: a per-row trigger would cost more than the row itself on a
-- first load, and the fenced apply is the only writer. The Janitor purges a deleted team's rows in batches.
-- Keys are COLLATE "C": comparison by bytes is cheap, the same on every machine, and what the engine itself does.

CREATE TABLE environments (
    team_id          bigint NOT NULL,
    id               text COLLATE "C" NOT NULL,
    env_name         text COLLATE "C" NOT NULL,
    short_domain     text,
    domain           text,
    display_name     text,
    status           integer NOT NULL,
    owner_uid        bigint NOT NULL,
    creator_uid      bigint,
    region           text,
    groups           text[] NOT NULL DEFAULT '{}',
    ha               boolean,
    ssl              boolean,
    created_on       timestamptz,
    outline_version  bytea,
    payload          jsonb NOT NULL,
    source_version   bytea NOT NULL CHECK (octet_length(source_version) = 32),
    raw_version      bytea,
    fence            bigint NOT NULL,
    synced_at        timestamptz NOT NULL,
    first_seen_at    timestamptz NOT NULL,
    stale            boolean NOT NULL DEFAULT false,
    stale_since      timestamptz,
    needs_validation boolean NOT NULL DEFAULT false,
    stale_reason     text CHECK (stale_reason IN ('deleted', 'transferred', 'missed_twice', 'hold_released', 'left_environment', 'environment_gone', 'account_replaced')),
    missing_since    timestamptz,
    missing_reason   text CHECK (missing_reason IN ('absent_once', 'held')),
    held             boolean NOT NULL DEFAULT false,
    quarantined      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (team_id, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
CREATE INDEX environments_by_name ON environments (team_id, env_name, id);
CREATE INDEX environments_flagged ON environments (team_id) WHERE stale OR missing_since IS NOT NULL OR needs_validation;
COMMENT ON TABLE environments IS 'Mirror of a team''s environments.';
COMMENT ON COLUMN environments.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN environments.id IS 'The platform''s appid.';
COMMENT ON COLUMN environments.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN environments.short_domain IS 'First label of the domain.';
COMMENT ON COLUMN environments.domain IS 'Internal domain.';
COMMENT ON COLUMN environments.display_name IS 'Alias given by people.';
COMMENT ON COLUMN environments.status IS 'Status number of the platform.';
COMMENT ON COLUMN environments.owner_uid IS 'Platform uid of the owner.';
COMMENT ON COLUMN environments.creator_uid IS 'Platform uid of who created it.';
COMMENT ON COLUMN environments.region IS 'Unique name of the host group.';
COMMENT ON COLUMN environments.groups IS 'Environment groups, children as Parent/Child.';
COMMENT ON COLUMN environments.ha IS 'High availability is on.';
COMMENT ON COLUMN environments.ssl IS 'Built-in SSL is on.';
COMMENT ON COLUMN environments.created_on IS 'When the platform created it.';
COMMENT ON COLUMN environments.outline_version IS 'sha256 of what a lazy listing shows of it, so that a delta sees which ones differ.';
COMMENT ON COLUMN environments.payload IS 'The element as the platform gave it, secrets and volatile fields removed.';
COMMENT ON COLUMN environments.source_version IS 'sha256 of the canonical JSON; the views show it as hex.';
COMMENT ON COLUMN environments.raw_version IS 'Keyed hash of the bytes as received, tagged with method and codec version; only a shortcut.';
COMMENT ON COLUMN environments.fence IS 'Fence of the run that wrote the row last; it never decreases.';
COMMENT ON COLUMN environments.synced_at IS 'Database time at which the request that gave this row was sent. The effective time is the later of this and vz_sync_data_types.verified_at.';
COMMENT ON COLUMN environments.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN environments.stale IS 'Confirmed gone; its last snapshot stands in archived_sites.';
COMMENT ON COLUMN environments.stale_since IS 'When stale became true.';
COMMENT ON COLUMN environments.needs_validation IS 'Served, but its present state is in doubt.';
COMMENT ON COLUMN environments.stale_reason IS 'How it was confirmed gone.';
COMMENT ON COLUMN environments.missing_since IS 'When a complete listing first lacked it.';
COMMENT ON COLUMN environments.missing_reason IS 'Why it counts as missing.';
COMMENT ON COLUMN environments.held IS 'Part of a held removal.';
COMMENT ON COLUMN environments.quarantined IS 'The newest element failed its schema; this is the last good one.';

CREATE TABLE nodes (
    team_id            bigint NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    environment_id     text COLLATE "C" NOT NULL,
    env_name           text COLLATE "C" NOT NULL,
    node_group         text,
    node_type          text,
    name               text,
    display_name       text,
    status             integer NOT NULL,
    is_master          boolean,
    int_ip             text,
    ext_ips            text[] NOT NULL DEFAULT '{}',
    version            text,
    fixed_cloudlets    integer,
    flexible_cloudlets integer,
    disk_limit_mb      bigint,
    payload            jsonb NOT NULL,
    source_version     bytea NOT NULL CHECK (octet_length(source_version) = 32),
    raw_version        bytea,
    fence              bigint NOT NULL,
    synced_at          timestamptz NOT NULL,
    first_seen_at      timestamptz NOT NULL,
    stale              boolean NOT NULL DEFAULT false,
    stale_since        timestamptz,
    needs_validation   boolean NOT NULL DEFAULT false,
    stale_reason       text CHECK (stale_reason IN ('deleted', 'transferred', 'missed_twice', 'hold_released', 'left_environment', 'environment_gone', 'account_replaced')),
    missing_since      timestamptz,
    missing_reason     text CHECK (missing_reason IN ('absent_once', 'held')),
    held               boolean NOT NULL DEFAULT false,
    quarantined        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (team_id, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
CREATE INDEX nodes_by_environment ON nodes (team_id, environment_id, id);
CREATE INDEX nodes_flagged ON nodes (team_id) WHERE stale OR missing_since IS NOT NULL OR needs_validation;
COMMENT ON TABLE nodes IS 'Mirror of the nodes of a team''s environments.';
COMMENT ON COLUMN nodes.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN nodes.id IS 'The platform''s node id, as text.';
COMMENT ON COLUMN nodes.environment_id IS 'appid of the environment it belongs to.';
COMMENT ON COLUMN nodes.env_name IS 'Short name of that environment.';
COMMENT ON COLUMN nodes.node_group IS 'Layer.';
COMMENT ON COLUMN nodes.node_type IS 'Stack type.';
COMMENT ON COLUMN nodes.name IS 'Stack name, not unique.';
COMMENT ON COLUMN nodes.display_name IS 'Alias given by people.';
COMMENT ON COLUMN nodes.status IS 'Status number of the platform.';
COMMENT ON COLUMN nodes.is_master IS 'First node of its layer.';
COMMENT ON COLUMN nodes.int_ip IS 'Internal address; some nodes have none.';
COMMENT ON COLUMN nodes.ext_ips IS 'External addresses, v4 and v6.';
COMMENT ON COLUMN nodes.version IS 'Version tag of the stack.';
COMMENT ON COLUMN nodes.fixed_cloudlets IS 'Reserved cloudlets.';
COMMENT ON COLUMN nodes.flexible_cloudlets IS 'Dynamic cloudlet limit.';
COMMENT ON COLUMN nodes.disk_limit_mb IS 'Disk limit in MB.';
COMMENT ON COLUMN nodes.payload IS 'The element as the platform gave it, secrets and volatile fields removed.';
COMMENT ON COLUMN nodes.source_version IS 'sha256 of the canonical JSON; the views show it as hex.';
COMMENT ON COLUMN nodes.raw_version IS 'Keyed hash of the bytes as received, tagged with method and codec version; only a shortcut.';
COMMENT ON COLUMN nodes.fence IS 'Fence of the run that wrote the row last; it never decreases.';
COMMENT ON COLUMN nodes.synced_at IS 'Database time at which the request that gave this row was sent. The effective time is the later of this and vz_sync_data_types.verified_at.';
COMMENT ON COLUMN nodes.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN nodes.stale IS 'Confirmed gone.';
COMMENT ON COLUMN nodes.stale_since IS 'When stale became true.';
COMMENT ON COLUMN nodes.needs_validation IS 'Served, but its present state is in doubt.';
COMMENT ON COLUMN nodes.stale_reason IS 'How it was confirmed gone.';
COMMENT ON COLUMN nodes.missing_since IS 'When a complete listing first lacked it.';
COMMENT ON COLUMN nodes.missing_reason IS 'Why it counts as missing.';
COMMENT ON COLUMN nodes.held IS 'Part of a held removal.';
COMMENT ON COLUMN nodes.quarantined IS 'The newest element failed its schema; this is the last good one.';

CREATE TABLE archived_sites (
    team_id          bigint NOT NULL,
    id               text COLLATE "C" NOT NULL,
    env_name         text COLLATE "C" NOT NULL,
    short_domain     text,
    domain           text,
    display_name     text,
    status           integer NOT NULL,
    owner_uid        bigint NOT NULL,
    creator_uid      bigint,
    region           text,
    groups           text[] NOT NULL DEFAULT '{}',
    ha               boolean,
    ssl              boolean,
    created_on       timestamptz,
    nodes            jsonb NOT NULL DEFAULT '[]',
    archived_at      timestamptz NOT NULL,
    reason           text NOT NULL CHECK (reason IN ('deleted', 'transferred', 'missed_twice', 'hold_released', 'account_replaced')),
    deleted_at       timestamptz,
    deleted_by       text,
    last_probe_at    timestamptz,
    last_probe_alive boolean,
    unarchived_at    timestamptz,
    payload          jsonb NOT NULL,
    source_version   bytea NOT NULL CHECK (octet_length(source_version) = 32),
    raw_version      bytea,
    fence            bigint NOT NULL,
    synced_at        timestamptz NOT NULL,
    first_seen_at    timestamptz NOT NULL,
    stale            boolean NOT NULL DEFAULT false,
    stale_since      timestamptz,
    needs_validation boolean NOT NULL DEFAULT false,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX archived_sites_newest ON archived_sites (team_id, archived_at DESC, id);
CREATE INDEX archived_sites_probe ON archived_sites (team_id, last_probe_at NULLS FIRST) WHERE NOT stale;
COMMENT ON TABLE archived_sites IS 'Environments that left the account, as last seen. Inserted and un-archived by the environments apply alone.';
COMMENT ON COLUMN archived_sites.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN archived_sites.id IS 'The platform''s appid.';
COMMENT ON COLUMN archived_sites.env_name IS 'Short name of the environment.';
COMMENT ON COLUMN archived_sites.short_domain IS 'First label of the domain.';
COMMENT ON COLUMN archived_sites.domain IS 'Internal domain.';
COMMENT ON COLUMN archived_sites.display_name IS 'Alias given by people.';
COMMENT ON COLUMN archived_sites.status IS 'Status number of the platform.';
COMMENT ON COLUMN archived_sites.owner_uid IS 'Platform uid of the owner.';
COMMENT ON COLUMN archived_sites.creator_uid IS 'Platform uid of who created it.';
COMMENT ON COLUMN archived_sites.region IS 'Unique name of the host group.';
COMMENT ON COLUMN archived_sites.groups IS 'Environment groups, children as Parent/Child.';
COMMENT ON COLUMN archived_sites.ha IS 'High availability is on.';
COMMENT ON COLUMN archived_sites.ssl IS 'Built-in SSL is on.';
COMMENT ON COLUMN archived_sites.created_on IS 'When the platform created it.';
COMMENT ON COLUMN archived_sites.nodes IS 'Its nodes as last seen, in the form of nodes.payload.';
COMMENT ON COLUMN archived_sites.archived_at IS 'When its removal was confirmed.';
COMMENT ON COLUMN archived_sites.reason IS 'How its removal was confirmed.';
COMMENT ON COLUMN archived_sites.deleted_at IS 'When it was deleted according to the platform''s action history.';
COMMENT ON COLUMN archived_sites.deleted_by IS 'Who deleted it according to that history.';
COMMENT ON COLUMN archived_sites.last_probe_at IS 'When the platform was last asked whether it is back.';
COMMENT ON COLUMN archived_sites.last_probe_alive IS 'What it answered; null when the answer was of no use.';
COMMENT ON COLUMN archived_sites.unarchived_at IS 'When it last came back.';
COMMENT ON COLUMN archived_sites.payload IS 'The element as the platform gave it, secrets and volatile fields removed.';
COMMENT ON COLUMN archived_sites.source_version IS 'sha256 of the canonical JSON; the views show it as hex.';
COMMENT ON COLUMN archived_sites.raw_version IS 'Keyed hash of the bytes as received, tagged with method and codec version; only a shortcut.';
COMMENT ON COLUMN archived_sites.fence IS 'Fence of the run that wrote the row last; it never decreases.';
COMMENT ON COLUMN archived_sites.synced_at IS 'Database time at which the request that gave this row was sent. The effective time is the later of this and vz_sync_data_types.verified_at.';
COMMENT ON COLUMN archived_sites.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN archived_sites.stale IS 'No longer archived: the environment came back.';
COMMENT ON COLUMN archived_sites.stale_since IS 'When stale became true.';
COMMENT ON COLUMN archived_sites.needs_validation IS 'Served, but its present state is in doubt.';

CREATE TABLE job_logs (
    team_id          bigint NOT NULL,
    id               text COLLATE "C" NOT NULL,
    environment_id   text COLLATE "C",
    env_name         text COLLATE "C",
    action           text NOT NULL,
    result           integer,
    started_at       timestamptz,
    finished_at      timestamptz,
    user_uid         bigint,
    user_login       text,
    payload          jsonb NOT NULL,
    source_version   bytea NOT NULL CHECK (octet_length(source_version) = 32),
    raw_version      bytea,
    fence            bigint NOT NULL,
    synced_at        timestamptz NOT NULL,
    first_seen_at    timestamptz NOT NULL,
    stale            boolean NOT NULL DEFAULT false,
    stale_since      timestamptz,
    needs_validation boolean NOT NULL DEFAULT false,
    PRIMARY KEY (team_id, id)
);
CREATE INDEX job_logs_newest ON job_logs (team_id, started_at DESC, id);
CREATE INDEX job_logs_by_environment ON job_logs (team_id, env_name, started_at DESC) WHERE env_name IS NOT NULL;
CREATE INDEX job_logs_running ON job_logs (team_id) WHERE finished_at IS NULL;
COMMENT ON TABLE job_logs IS 'Actions on a team''s environments, from the platform''s action history; an append-only window of 90 days.';
COMMENT ON COLUMN job_logs.team_id IS 'The team; every query names it.';
COMMENT ON COLUMN job_logs.id IS 'The platform''s action id.';
COMMENT ON COLUMN job_logs.environment_id IS 'appid of the environment, when the action names one.';
COMMENT ON COLUMN job_logs.env_name IS 'Short name of the environment, when the action names one.';
COMMENT ON COLUMN job_logs.action IS 'What was done.';
COMMENT ON COLUMN job_logs.result IS 'Result number of the platform; 0 is success, null while it runs.';
COMMENT ON COLUMN job_logs.started_at IS 'When it began.';
COMMENT ON COLUMN job_logs.finished_at IS 'When it ended; null while it runs.';
COMMENT ON COLUMN job_logs.user_uid IS 'Platform uid of who did it.';
COMMENT ON COLUMN job_logs.user_login IS 'Login of who did it.';
COMMENT ON COLUMN job_logs.payload IS 'The element as the platform gave it, secrets and volatile fields removed.';
COMMENT ON COLUMN job_logs.source_version IS 'sha256 of the canonical JSON; the views show it as hex.';
COMMENT ON COLUMN job_logs.raw_version IS 'Keyed hash of the bytes as received, tagged with method and codec version; only a shortcut.';
COMMENT ON COLUMN job_logs.fence IS 'Fence of the run that wrote the row last; it never decreases.';
COMMENT ON COLUMN job_logs.synced_at IS 'Database time at which the request that gave this row was sent. The effective time is the later of this and vz_sync_data_types.verified_at.';
COMMENT ON COLUMN job_logs.first_seen_at IS 'When the element was first mirrored.';
COMMENT ON COLUMN job_logs.stale IS 'Always false: actions are never removed, only trimmed.';
COMMENT ON COLUMN job_logs.stale_since IS 'When stale became true.';
COMMENT ON COLUMN job_logs.needs_validation IS 'Served, but its present state is in doubt.';

CREATE TABLE vz_sync_removal_holds (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id           bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    data_type         text NOT NULL CHECK (data_type IN ('environments', 'nodes')),
    state             text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'released', 'rejected', 'expired')),
    reason            text NOT NULL CHECK (reason IN ('empty_listing', 'over_percentage')),
    rows_before       bigint NOT NULL,
    rows_missing      bigint NOT NULL,
    agreeing_listings integer NOT NULL DEFAULT 0,
    last_agreed_at    timestamptz,
    job_id            bigint,
    created_at        timestamptz NOT NULL DEFAULT now(),
    decided_at        timestamptz,
    decided_by        text,
    rejected_until    timestamptz,
    CHECK ((state = 'held') = (decided_at IS NULL)),
    CHECK ((state = 'rejected') = (rejected_until IS NOT NULL))
);
CREATE UNIQUE INDEX vz_sync_removal_holds_one_open ON vz_sync_removal_holds (team_id, data_type) WHERE state = 'held';
CREATE INDEX vz_sync_removal_holds_history ON vz_sync_removal_holds (team_id, id);
COMMENT ON TABLE vz_sync_removal_holds IS 'Removals too large to believe: a plan that people release or reject, or that later listings confirm or undo.';
COMMENT ON COLUMN vz_sync_removal_holds.id IS 'Hold id, as given to callers.';
COMMENT ON COLUMN vz_sync_removal_holds.team_id IS 'The team.';
COMMENT ON COLUMN vz_sync_removal_holds.data_type IS 'Table the rows are missing from.';
COMMENT ON COLUMN vz_sync_removal_holds.state IS 'held; released by people or two later listings; rejected by people; expired when all rows came back.';
COMMENT ON COLUMN vz_sync_removal_holds.reason IS 'Which guard held it.';
COMMENT ON COLUMN vz_sync_removal_holds.rows_before IS 'Rows served before the listing.';
COMMENT ON COLUMN vz_sync_removal_holds.rows_missing IS 'Rows the listing lacked.';
COMMENT ON COLUMN vz_sync_removal_holds.agreeing_listings IS 'Later complete listings that lacked the whole set too.';
COMMENT ON COLUMN vz_sync_removal_holds.last_agreed_at IS 'When the last of them was asked for.';
COMMENT ON COLUMN vz_sync_removal_holds.job_id IS 'Job whose listing was held.';
COMMENT ON COLUMN vz_sync_removal_holds.created_at IS 'When it was held.';
COMMENT ON COLUMN vz_sync_removal_holds.decided_at IS 'When it left held.';
COMMENT ON COLUMN vz_sync_removal_holds.decided_by IS 'Subject of the token that decided it, if a person did.';
COMMENT ON COLUMN vz_sync_removal_holds.rejected_until IS 'Until when the rejected rows are not held anew.';

CREATE TABLE vz_sync_removal_hold_items (
    hold_id     bigint NOT NULL REFERENCES vz_sync_removal_holds (id) ON DELETE CASCADE,
    external_id text COLLATE "C" NOT NULL,
    team_id     bigint NOT NULL,
    PRIMARY KEY (hold_id, external_id)
);
CREATE INDEX vz_sync_removal_hold_items_row ON vz_sync_removal_hold_items (team_id, external_id);
COMMENT ON TABLE vz_sync_removal_hold_items IS 'Rows of a hold; one that returns leaves it.';
COMMENT ON COLUMN vz_sync_removal_hold_items.hold_id IS 'The hold.';
COMMENT ON COLUMN vz_sync_removal_hold_items.external_id IS 'Id of the mirrored row; for a hold on nodes, of the environment that fell to none.';
COMMENT ON COLUMN vz_sync_removal_hold_items.team_id IS 'The team; every query names it.';

CREATE TABLE vz_sync_quarantine (
    team_id       bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    data_type     text COLLATE "C" NOT NULL REFERENCES freshness_defaults (data_type),
    external_id   text COLLATE "C" NOT NULL,
    error         text NOT NULL,
    raw_redacted  text NOT NULL,
    seen_count    bigint NOT NULL DEFAULT 1,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team_id, data_type, external_id)
);
COMMENT ON TABLE vz_sync_quarantine IS 'Elements that failed their schema. The last good row stays served.';
COMMENT ON COLUMN vz_sync_quarantine.team_id IS 'The team.';
COMMENT ON COLUMN vz_sync_quarantine.data_type IS 'Table the element was meant for.';
COMMENT ON COLUMN vz_sync_quarantine.external_id IS 'Id of the element.';
COMMENT ON COLUMN vz_sync_quarantine.error IS 'What the schema refused.';
COMMENT ON COLUMN vz_sync_quarantine.raw_redacted IS 'The element, secrets removed and cut to 64 KiB; text, since it may not be storable as jsonb.';
COMMENT ON COLUMN vz_sync_quarantine.seen_count IS 'Runs that saw it.';
COMMENT ON COLUMN vz_sync_quarantine.first_seen_at IS 'When it was first refused.';
COMMENT ON COLUMN vz_sync_quarantine.last_seen_at IS 'When it was last refused.';
