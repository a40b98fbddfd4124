-- What is due, what runs, and how far each data type was verified. These rows are the only truth of the pipeline.

CREATE TABLE vz_sync_states (
    team_id                bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    scope                  text COLLATE "C" NOT NULL CHECK (scope IN ('environments', 'archived_sites', 'job_logs')),
    platform_id            bigint NOT NULL,
    enabled                boolean NOT NULL DEFAULT true,
    admitted               boolean NOT NULL DEFAULT true,
    status                 text NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'queued', 'running', 'retrying', 'throttled', 'error', 'paused', 'disabled')),
    pending_reason         text,
    pending_message        text,
    next_full_at           timestamptz,
    next_delta_at          timestamptz,
    not_before             timestamptz,
    not_before_reason      text CHECK (not_before_reason IN ('backoff', 'partial', 'throttled', 'rate_limit', 'circuit_open', 'collision', 'catch_up')),
    requested_at           timestamptz,
    requested_mode         text CHECK (requested_mode IN ('full', 'delta')),
    requested_class        smallint CHECK (requested_class IN (9, 6, 4, 3, 1)),
    requested_by           text,
    requested_environments text[],
    requested_trace        text,
    demand_at              timestamptz,
    dispatched_at          timestamptz,
    redispatch_at          timestamptz,
    lease_owner            uuid,
    lease_run              uuid,
    lease_until            timestamptz,
    lease_job_id           bigint,
    fence                  bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    committed_fence        bigint NOT NULL DEFAULT 0 CHECK (committed_fence >= 0),
    committed_run          uuid,
    failures               integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since          timestamptz,
    last_error_class       text CHECK (last_error_class IN ('retryable', 'throttled', 'auth', 'capability', 'invalid', 'internal')),
    last_error_code        text,
    last_error             text,
    last_started_at        timestamptz,
    last_finished_at       timestamptz,
    last_success_at        timestamptz,
    last_full_at           timestamptz,
    last_mode              text CHECK (last_mode IN ('full', 'delta')),
    full_interval_seconds  integer CHECK (full_interval_seconds > 0),
    delta_interval_seconds integer CHECK (delta_interval_seconds > 0),
    paused_at              timestamptz,
    pause_warned_at        timestamptz,
    cursor                 jsonb,
    capabilities           jsonb NOT NULL DEFAULT '{}',
    -- The first moment at which the row may be claimed. Everything that only time ends is inside;
    -- what a person or an actor must end (pause, rollout, disabled) makes it null, and the row leaves the index.
    due_at                 timestamptz GENERATED ALWAYS AS (
        CASE WHEN enabled AND admitted AND paused_at IS NULL AND num_nonnulls(next_full_at, next_delta_at, requested_at) > 0
             THEN greatest(least(next_full_at, next_delta_at, requested_at), not_before, redispatch_at, lease_until)
        END) STORED,
    PRIMARY KEY (team_id, scope),
    CHECK (num_nonnulls(lease_owner, lease_run, lease_until, lease_job_id) IN (0, 4)),
    CHECK (num_nonnulls(dispatched_at, redispatch_at) IN (0, 2)),
    CHECK (requested_at IS NULL = (requested_class IS NULL)),
    CHECK (committed_fence <= fence)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
-- Two disjoint indexes: a requested run is found at once behind any backlog of scheduled ones.
CREATE INDEX vz_sync_states_requested ON vz_sync_states (platform_id, due_at) WHERE requested_at IS NOT NULL AND due_at IS NOT NULL;
CREATE INDEX vz_sync_states_scheduled ON vz_sync_states (platform_id, due_at) WHERE requested_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX vz_sync_states_leased ON vz_sync_states (lease_owner) WHERE lease_run IS NOT NULL;
COMMENT ON TABLE vz_sync_states IS 'One row per team and scope: when it is due, who runs it, how it went. The only truth of the pipeline.';
COMMENT ON COLUMN vz_sync_states.team_id IS 'The team.';
COMMENT ON COLUMN vz_sync_states.scope IS 'What one run synchronises.';
COMMENT ON COLUMN vz_sync_states.platform_id IS 'Copy of teams.platform_id, kept by triggers: the claim passes over platforms whose circuit is open.';
COMMENT ON COLUMN vz_sync_states.enabled IS 'False for a scope switched off, or when the team is deleted.';
COMMENT ON COLUMN vz_sync_states.admitted IS 'Derived from team_settings by triggers: in rollout, not paused, with a key that is not refused.';
COMMENT ON COLUMN vz_sync_states.status IS 'What the scope is doing, for people; the pipeline never branches on it.';
COMMENT ON COLUMN vz_sync_states.pending_reason IS 'Why it does not run now, as a code.';
COMMENT ON COLUMN vz_sync_states.pending_message IS 'The same in words.';
COMMENT ON COLUMN vz_sync_states.next_full_at IS 'Own time of the next full run; moves only when a run ends.';
COMMENT ON COLUMN vz_sync_states.next_delta_at IS 'Own time of the next delta run; moves only when a run ends.';
COMMENT ON COLUMN vz_sync_states.not_before IS 'Nothing runs before this moment, whatever asks for it.';
COMMENT ON COLUMN vz_sync_states.not_before_reason IS 'Why not_before was set; a manual trigger clears backoff, partial, collision and catch_up, never the platform''s own.';
COMMENT ON COLUMN vz_sync_states.requested_at IS 'When a run was last asked for; a success clears it only if its fetch began later.';
COMMENT ON COLUMN vz_sync_states.requested_mode IS 'Mode asked for; full beats delta.';
COMMENT ON COLUMN vz_sync_states.requested_class IS 'Highest class asked for: manual 9, demand 6, retry 4, schedule 3, backfill 1.';
COMMENT ON COLUMN vz_sync_states.requested_by IS 'Who asked, for the job row.';
COMMENT ON COLUMN vz_sync_states.requested_environments IS 'Names of environments to refetch first: hints only.';
COMMENT ON COLUMN vz_sync_states.requested_trace IS 'W3C traceparent of the latest request.';
COMMENT ON COLUMN vz_sync_states.demand_at IS 'When a stale read last asked for a run; at most one per 30 s.';
COMMENT ON COLUMN vz_sync_states.dispatched_at IS 'When the scheduler last claimed it for the due queue; cleared when the run ends.';
COMMENT ON COLUMN vz_sync_states.redispatch_at IS 'When an unleased claim counts as lost and may be repeated.';
COMMENT ON COLUMN vz_sync_states.lease_owner IS 'Boot id of the replica that runs it.';
COMMENT ON COLUMN vz_sync_states.lease_run IS 'Random id of the run that holds the lease.';
COMMENT ON COLUMN vz_sync_states.lease_until IS 'End of the lease unless renewed, database time.';
COMMENT ON COLUMN vz_sync_states.lease_job_id IS 'Job that runs under the lease.';
COMMENT ON COLUMN vz_sync_states.fence IS 'Raised with each lease; a commit with an older one is refused.';
COMMENT ON COLUMN vz_sync_states.committed_fence IS 'Fence of the last committed run: answers a COMMIT of unknown outcome.';
COMMENT ON COLUMN vz_sync_states.committed_run IS 'lease_run of the last committed run: tells runs apart if a failover issued a fence twice.';
COMMENT ON COLUMN vz_sync_states.failures IS 'Consecutive failed runs that were not throttled.';
COMMENT ON COLUMN vz_sync_states.failing_since IS 'When the current series of failures began.';
COMMENT ON COLUMN vz_sync_states.last_error_class IS 'Failure class of the last failed run.';
COMMENT ON COLUMN vz_sync_states.last_error_code IS 'Stable code of that failure.';
COMMENT ON COLUMN vz_sync_states.last_error IS 'What the last failed run reported, without secrets.';
COMMENT ON COLUMN vz_sync_states.last_started_at IS 'When the last run was leased.';
COMMENT ON COLUMN vz_sync_states.last_finished_at IS 'When the last run ended, however it ended.';
COMMENT ON COLUMN vz_sync_states.last_success_at IS 'When the last successful run committed.';
COMMENT ON COLUMN vz_sync_states.last_full_at IS 'When the last successful full run committed.';
COMMENT ON COLUMN vz_sync_states.last_mode IS 'Mode of the last successful run.';
COMMENT ON COLUMN vz_sync_states.full_interval_seconds IS 'Full interval of this team and scope; null takes the configured one.';
COMMENT ON COLUMN vz_sync_states.delta_interval_seconds IS 'Delta interval of this team and scope; null takes the configured one.';
COMMENT ON COLUMN vz_sync_states.paused_at IS 'When sustained failure paused this scope; resume clears it and the failures.';
COMMENT ON COLUMN vz_sync_states.pause_warned_at IS 'When the coming automatic pause was announced.';
COMMENT ON COLUMN vz_sync_states.cursor IS 'Where the next delta begins (tracking window, settled environments).';
COMMENT ON COLUMN vz_sync_states.capabilities IS 'Methods the key was refused: a run falls back instead of failing.';
COMMENT ON COLUMN vz_sync_states.due_at IS 'Generated: first moment at which the row may be claimed; null while nothing but a person or an actor can make it runnable.';

CREATE TABLE vz_sync_jobs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- No foreign key: its check would lock and rewrite the team's row with every job.
    team_id             bigint NOT NULL,
    scope               text COLLATE "C" NOT NULL CHECK (scope IN ('environments', 'archived_sites', 'job_logs')),
    state               text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'dead', 'cancelled', 'superseded', 'obsolete')),
    mode                text CHECK (mode IN ('full', 'delta')),
    class               smallint NOT NULL CHECK (class IN (9, 6, 4, 3, 1)),
    reason              text NOT NULL,
    requested_by        text,
    environments        text[],
    attempt             integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    deadline            timestamptz NOT NULL DEFAULT now(),
    not_before          timestamptz,
    published_at        timestamptz,
    started_at          timestamptz,
    finished_at         timestamptz,
    lease_owner         uuid,
    run_id              uuid,
    fence               bigint,
    counts              jsonb,
    error_class         text CHECK (error_class IN ('retryable', 'throttled', 'auth', 'capability', 'invalid', 'internal')),
    error_code          text,
    error               text,
    satisfied_by_job_id bigint,
    trace_parent        text,
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL)),
    CHECK (satisfied_by_job_id IS NULL OR state IN ('superseded', 'obsolete'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX vz_sync_jobs_one_queued ON vz_sync_jobs (team_id, scope) WHERE state = 'queued';
CREATE UNIQUE INDEX vz_sync_jobs_one_running ON vz_sync_jobs (team_id, scope) WHERE state = 'running';
CREATE INDEX vz_sync_jobs_history ON vz_sync_jobs (team_id, id);
CREATE INDEX vz_sync_jobs_published ON vz_sync_jobs (published_at) WHERE state = 'queued' AND published_at IS NOT NULL;
CREATE INDEX vz_sync_jobs_failed ON vz_sync_jobs (finished_at, team_id) WHERE state IN ('failed', 'dead');
CREATE INDEX vz_sync_jobs_finished ON vz_sync_jobs (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE vz_sync_jobs IS 'One row per requested run, kept 14 days after its end.';
COMMENT ON COLUMN vz_sync_jobs.id IS 'Job id, as given to callers.';
COMMENT ON COLUMN vz_sync_jobs.team_id IS 'The team.';
COMMENT ON COLUMN vz_sync_jobs.scope IS 'What the run synchronises.';
COMMENT ON COLUMN vz_sync_jobs.state IS 'queued -> running -> an end; running -> queued on a retry. superseded and obsolete emit no event.';
COMMENT ON COLUMN vz_sync_jobs.mode IS 'Mode chosen when the lease was taken; null before.';
COMMENT ON COLUMN vz_sync_jobs.class IS 'manual 9, demand 6, retry 4, schedule 3, backfill 1; also the AMQP priority.';
COMMENT ON COLUMN vz_sync_jobs.reason IS 'What made the scope due, as a reason code.';
COMMENT ON COLUMN vz_sync_jobs.requested_by IS 'Subject of the token that asked, if any.';
COMMENT ON COLUMN vz_sync_jobs.environments IS 'Names of environments to refetch first.';
COMMENT ON COLUMN vz_sync_jobs.attempt IS 'Leases taken so far, raised before the run so that a crash counts.';
COMMENT ON COLUMN vz_sync_jobs.created_at IS 'When the run was asked for or claimed.';
COMMENT ON COLUMN vz_sync_jobs.deadline IS 'When the run was due; orders the due queue within a class.';
COMMENT ON COLUMN vz_sync_jobs.not_before IS 'Earliest moment of the next attempt.';
COMMENT ON COLUMN vz_sync_jobs.published_at IS 'When the job bus last confirmed the message; cleared by a repeated claim.';
COMMENT ON COLUMN vz_sync_jobs.started_at IS 'When the current or last attempt was leased.';
COMMENT ON COLUMN vz_sync_jobs.finished_at IS 'When the job ended.';
COMMENT ON COLUMN vz_sync_jobs.lease_owner IS 'Boot id of the replica of the last attempt.';
COMMENT ON COLUMN vz_sync_jobs.run_id IS 'lease_run of the last attempt.';
COMMENT ON COLUMN vz_sync_jobs.fence IS 'Fence of the last attempt.';
COMMENT ON COLUMN vz_sync_jobs.counts IS 'Rows seen, inserted, updated, unchanged, missing and so on, per data type.';
COMMENT ON COLUMN vz_sync_jobs.error_class IS 'Failure class of the last failed attempt.';
COMMENT ON COLUMN vz_sync_jobs.error_code IS 'Stable code of that failure.';
COMMENT ON COLUMN vz_sync_jobs.error IS 'What the last failed attempt reported, without secrets.';
COMMENT ON COLUMN vz_sync_jobs.satisfied_by_job_id IS 'Job that did the work of a superseded or obsolete one.';
COMMENT ON COLUMN vz_sync_jobs.trace_parent IS 'W3C traceparent that the run continues.';

CREATE TABLE vz_sync_data_types (
    team_id                       bigint NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    data_type                     text COLLATE "C" NOT NULL REFERENCES freshness_defaults (data_type),
    scope                         text COLLATE "C" NOT NULL CHECK (scope IN ('environments', 'archived_sites', 'job_logs')),
    verified_at                   timestamptz,
    verified_by                   text CHECK (verified_by IN ('full', 'delta')),
    complete_at                   timestamptz,
    body_hash                     bytea,
    body_fence                    bigint,
    codec_version                 integer,
    applied_fence                 bigint NOT NULL DEFAULT 0,
    rows_total                    bigint NOT NULL DEFAULT 0 CHECK (rows_total >= 0),
    rows_flagged                  bigint NOT NULL DEFAULT 0 CHECK (rows_flagged >= 0),
    rows_shared                   bigint NOT NULL DEFAULT 0 CHECK (rows_shared >= 0),
    max_allowed_staleness_seconds integer CHECK (max_allowed_staleness_seconds > 0),
    PRIMARY KEY (team_id, data_type),
    CHECK ((verified_at IS NULL) = (verified_by IS NULL))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE vz_sync_data_types IS 'How far a team''s mirrored table was verified. Moving verified_at here spares writing unchanged rows.';
COMMENT ON COLUMN vz_sync_data_types.team_id IS 'The team.';
COMMENT ON COLUMN vz_sync_data_types.data_type IS 'The mirrored table.';
COMMENT ON COLUMN vz_sync_data_types.scope IS 'Scope whose runs verify it.';
COMMENT ON COLUMN vz_sync_data_types.verified_at IS 'All unflagged rows were true at this moment: database time at which the request was sent.';
COMMENT ON COLUMN vz_sync_data_types.verified_by IS 'Mode of the run that moved verified_at.';
COMMENT ON COLUMN vz_sync_data_types.complete_at IS 'When the last complete listing was asked for.';
COMMENT ON COLUMN vz_sync_data_types.body_hash IS 'Keyed hash of the last complete body; an equal one skips plan and apply.';
COMMENT ON COLUMN vz_sync_data_types.body_fence IS 'Fence of the run that saw body_hash; of use only while it is not below applied_fence.';
COMMENT ON COLUMN vz_sync_data_types.codec_version IS 'Version of the codec that saw body_hash; another one is a miss.';
COMMENT ON COLUMN vz_sync_data_types.applied_fence IS 'Fence of the last run that wrote rows.';
COMMENT ON COLUMN vz_sync_data_types.rows_total IS 'Rows that are not stale.';
COMMENT ON COLUMN vz_sync_data_types.rows_flagged IS 'Rows not stale but missing, held, quarantined or in need of validation; above 0 an equal body skips nothing.';
COMMENT ON COLUMN vz_sync_data_types.rows_shared IS 'Elements of other accounts seen and left out in the last listing.';
COMMENT ON COLUMN vz_sync_data_types.max_allowed_staleness_seconds IS 'Age limit of this team; null takes freshness_defaults.';

CREATE FUNCTION vz_state_enter() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- The share lock makes a concurrent pause or resume wait, so that it finds this row.
    SELECT t.platform_id, ts.in_rollout AND ts.has_key AND ts.paused_at IS NULL AND ts.auth_failed_at IS NULL
    INTO NEW.platform_id, NEW.admitted
    FROM teams t JOIN team_settings ts ON ts.team_id = t.id
    WHERE t.id = NEW.team_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'team % has no settings row: add the team before its states', NEW.team_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION vz_state_enter() IS 'Copies platform and admission into a new state.';
CREATE TRIGGER vz_sync_states_enter BEFORE INSERT ON vz_sync_states
    FOR EACH ROW EXECUTE FUNCTION vz_state_enter();

CREATE FUNCTION vz_settings_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE vz_sync_states SET admitted = NOT admitted
    WHERE team_id = NEW.team_id
      AND admitted <> (NEW.in_rollout AND NEW.has_key AND NEW.paused_at IS NULL AND NEW.auth_failed_at IS NULL);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION vz_settings_changed() IS 'Takes a team''s states out of the due index, or back, when it is paused, resumed or rolled out.';
CREATE TRIGGER team_settings_admission AFTER UPDATE OF in_rollout, has_key, paused_at, auth_failed_at, cohorts ON team_settings
    FOR EACH ROW EXECUTE FUNCTION vz_settings_changed();

CREATE FUNCTION vz_team_moved() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE vz_sync_states SET platform_id = NEW.platform_id WHERE team_id = NEW.id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION vz_team_moved() IS 'Follows a team to another platform.';
CREATE TRIGGER teams_moved AFTER UPDATE OF platform_id ON teams
    FOR EACH ROW WHEN (OLD.platform_id <> NEW.platform_id) EXECUTE FUNCTION vz_team_moved();
