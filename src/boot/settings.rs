//! From the configuration to the engine's settings: one function, so that a
//! key that is read nowhere is seen here.

use vz_sync_actors::domain::ReplicaId;
use vz_sync_actors::domain::backoff::BackoffRules;
use vz_sync_actors::domain::fairness::Permits;
use vz_sync_actors::domain::removal::RemovalRules;
use vz_sync_actors::domain::retry::RetryRules;
use vz_sync_actors::domain::worth::DeltaRules;
use vz_sync_actors::ports::upkeep::Retention;
use vz_sync_actors::settings::Settings;

use crate::config::Config;

/// The settings of one engine.
pub fn engine(config: &Config, replica: ReplicaId, host: String) -> Settings {
    let Config {
        pipeline,
        intervals,
        limits,
        timeouts,
        removal,
        staleness,
        platform,
        retention,
        ..
    } = config;
    let defaults = Settings::new(replica);
    Settings {
        host,
        poll: pipeline.poll_seconds.duration(),
        claim_batch: pipeline.claim_batch,
        jitter: f64::from(intervals.jitter_percent) / 100.0,
        redispatch: pipeline.redispatch_seconds.duration(),
        permits: Permits {
            total: limits.max_parallel_jobs,
            per_team: limits.max_parallel_per_team,
            ..Permits::default()
        },
        lease_ttl: pipeline.job_lock_seconds.duration(),
        run_timeout: timeouts.run_seconds.duration(),
        collision_delay: pipeline.lock_collision_seconds.duration(),
        retry: RetryRules {
            backoff: BackoffRules {
                initial: pipeline.backoff_base_seconds.duration(),
                cap: pipeline.backoff_cap_seconds.duration(),
                retry_after_cap: pipeline.retry_after_cap_seconds.duration(),
                ..BackoffRules::default()
            },
            max_attempts: pipeline.max_attempts,
            auth_probe: intervals.auth_probe_minutes.duration(),
            invalid_wait: intervals.full_minutes.duration(),
            ..RetryRules::default()
        },
        heartbeat: config.replica.heartbeat_seconds.duration(),
        dead_after: config.replica.dead_after_seconds.duration(),
        join_wait: config.replica.join_wait_seconds.duration(),
        stage_from: limits.staging_rows,
        stage_parallel: limits.staging_connections,
        delta: DeltaRules {
            vouched_for: staleness.environments_minutes.duration(),
            run_time: timeouts.run_seconds.duration() / 2,
            ..DeltaRules::default()
        },
        history_overlap: intervals.delta_overlap_seconds.duration(),
        history_window: retention.job_logs_days.duration(),
        circuit_threshold: platform.circuit_failures,
        circuit_open_for: platform.circuit_open_seconds.duration(),
        removal: RemovalRules {
            hold_percent: removal.hold_percent,
            hold_min: removal.hold_min_environments,
            probe_limit: removal.confirm_per_run,
            empty_confirm_max: removal.empty_confirm_max,
            rejected_for: removal.reject_quiet_days.duration(),
            ..RemovalRules::default()
        },
        retention: Retention {
            jobs: retention.jobs_days.duration(),
            outbox: retention.outbox_days.duration(),
            changes: retention.changes_days.duration(),
            job_logs: retention.job_logs_days.duration(),
            quarantine: retention.quarantine_days.duration(),
            idempotency_keys: retention.idempotency_hours.duration(),
            removed_teams: retention.deleted_team_days.duration(),
            ..Retention::default()
        },
        max_live: limits.max_team_actors,
        stop_timeout: timeouts.shutdown_seconds.duration(),
        ..defaults
    }
}
