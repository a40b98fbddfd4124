//! The settings as the rest of the service sees them: one struct per concern.
//!
//! What each key means is written in `config/default.toml`, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{CidrRange, Days, Hours, Minutes, Seconds};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                #[doc = concat!("`", stringify!($field), "` of `config/default.toml`.")]
                $(#[$attr])*
                pub $field: $kind,
            )*
        }
    };
}

section! {
    /// All settings.
    Config {
        pipeline: Pipeline,
        intervals: Intervals,
        limits: Limits,
        timeouts: Timeouts,
        removal: Removal,
        staleness: Staleness,
        http: Http,
        admin: Admin,
        auth: Auth,
        database: Database,
        #[serde(default)]
        secrets: Secrets,
        platform: Platform,
        retention: Retention,
        rollout: Rollout,
        replica: Replica,
        log: Log,
    }
}

section! {
    /// The scheduler, the lease and the retries.
    Pipeline {
        enabled: bool,
        poll_seconds: Seconds,
        claim_batch: u32,
        job_lock_seconds: Seconds,
        redispatch_seconds: Seconds,
        lock_collision_seconds: Seconds,
        max_attempts: u32,
        backoff_base_seconds: Seconds,
        backoff_cap_seconds: Seconds,
        retry_after_cap_seconds: Seconds,
    }
}

section! {
    /// When a scope is due.
    Intervals {
        full_minutes: Minutes,
        delta_minutes: Minutes,
        jitter_percent: u8,
        demand_seconds: Seconds,
        delta_overlap_seconds: Seconds,
        auth_probe_minutes: Minutes,
    }
}

section! {
    /// How much at once.
    Limits {
        max_parallel_jobs: usize,
        max_parallel_per_team: usize,
        max_team_actors: usize,
        platform_requests_per_second: u32,
        team_requests_per_second: u32,
        max_body_mib: usize,
        staging_rows: usize,
        staging_connections: usize,
        triggers_per_team_per_minute: u32,
        sse_clients: usize,
        sse_clients_per_subject: usize,
    }
}

impl Limits {
    /// The longest decoded platform answer in bytes.
    pub const fn max_body_bytes(&self) -> usize {
        self.max_body_mib.saturating_mul(1024 * 1024)
    }
}

section! {
    /// How long each step of a run may take.
    Timeouts {
        connect_seconds: Seconds,
        first_byte_seconds: Seconds,
        between_chunks_seconds: Seconds,
        run_seconds: Seconds,
        shutdown_seconds: Seconds,
    }
}

section! {
    /// When a removal is believed, and when it is held.
    Removal {
        hold_percent: u8,
        hold_min_environments: usize,
        confirm_per_run: usize,
        empty_confirm_max: usize,
        reject_quiet_days: Days,
    }
}

section! {
    /// `max_allowed_staleness` of each data type.
    Staleness {
        environments_minutes: Minutes,
        nodes_minutes: Minutes,
        job_logs_minutes: Minutes,
        archived_sites_minutes: Minutes,
    }
}

section! {
    /// The public listener.
    Http {
        listen: SocketAddr,
        cors_origins: Vec<String>,
        body_limit_kib: usize,
        header_timeout_seconds: Seconds,
        request_timeout_seconds: Seconds,
        sse_heartbeat_seconds: Seconds,
        sse_ticket_seconds: Seconds,
    }
}

section! {
    /// The admin listener.
    Admin {
        listen: SocketAddr,
        #[serde(default, deserialize_with = "secret")]
        token: Option<SecretString>,
    }
}

section! {
    /// The dashboard's tokens.
    Auth {
        #[serde(default, deserialize_with = "secret")]
        jwt_secret: Option<SecretString>,
        issuer: String,
        audience: String,
        leeway_seconds: Seconds,
    }
}

section! {
    /// The mirror's database.
    Database {
        #[serde(default, deserialize_with = "secret")]
        url: Option<SecretString>,
        #[serde(default)]
        ssl_root_cert: Option<PathBuf>,
        data_dir: PathBuf,
        pool_size: usize,
        statement_timeout_seconds: Seconds,
    }
}

section! {
    /// The key ring.
    #[derive(Default)]
    Secrets {
        #[serde(default, deserialize_with = "secret")]
        master_keys: Option<SecretString>,
    }
}

section! {
    /// The platform client.
    Platform {
        allow_http_loopback: bool,
        allowed_private_ranges: Vec<CidrRange>,
        circuit_failures: u32,
        circuit_open_seconds: Seconds,
        #[serde(deserialize_with = "result_codes")]
        result_codes: BTreeMap<i64, ResultClass>,
    }
}

impl Platform {
    /// What a result code other than 0 means; an unlisted one is worth a retry.
    pub fn classify(&self, code: i64) -> ResultClass {
        self.result_codes.get(&code).copied().unwrap_or(ResultClass::Retryable)
    }
}

/// What a platform result code means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultClass {
    /// Worth another attempt after the backoff.
    Retryable,
    /// The platform asks for patience.
    Throttled,
    /// The session key is no longer accepted.
    Auth,
    /// The key is good, but not for this method.
    Capability,
    /// The request or the answer is broken; repeating it does not help.
    Invalid,
    /// The named environment does not exist, or not for this key.
    Gone,
}

section! {
    /// How long rows are kept.
    Retention {
        jobs_days: Days,
        outbox_days: Days,
        changes_days: Days,
        job_logs_days: Days,
        quarantine_days: Days,
        deleted_team_days: Days,
        idempotency_hours: Hours,
    }
}

section! {
    /// Who takes part, before Postgres says otherwise.
    Rollout {
        teams: Vec<i64>,
        cohorts: Vec<String>,
        percent: u8,
    }
}

section! {
    /// The life signs of a replica.
    Replica {
        heartbeat_seconds: Seconds,
        dead_after_seconds: Seconds,
        join_wait_seconds: Seconds,
    }
}

section! {
    /// Logging.
    Log {
        filter: String,
        format: LogFormat,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For eyes.
    Human,
}

// secrecy's own serde support would also be a way to write secrets out again.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

// TOML keys are texts; codes are numbers everywhere else.
fn result_codes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<i64, ResultClass>, D::Error> {
    BTreeMap::<String, ResultClass>::deserialize(deserializer)?
        .into_iter()
        .map(|(code, class)| {
            let code = code.parse().map_err(|_| {
                serde::de::Error::custom(format_args!("{code:?} is not a result code"))
            })?;
            Ok((code, class))
        })
        .collect()
}
