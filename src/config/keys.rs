//! The one table of all keys: kind, range and short name.
//!
//! The loader parses environment variables by it, refuses by it, redacts by it
//! and prints by it; a test keeps it, `default.toml` and the structs equal.

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number from the first to the second, both included.
    Int(u64, u64),
    /// Text, not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An address and port to listen on.
    Listen,
    /// A list of texts.
    TextList,
    /// A list of browser origins.
    Origins,
    /// A list of CIDR ranges.
    Ranges,
    /// A list of whole numbers above zero.
    IdList,
    /// A table of result code to class; set in files only.
    ResultCodes,
    /// Text that is never shown, with its least length.
    Secret(usize),
    /// A key that this version knows but cannot serve, with what to do instead.
    Unsupported(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The short name, in lower case, as in an environment variable or at the top of a file.
    pub short: Option<&'static str>,
}

impl Key {
    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind, short: None }
}

const fn named(path: &'static str, kind: Kind, short: &'static str) -> Key {
    Key { path, kind, short: Some(short) }
}

use Kind::{
    Bool, Choice, IdList, Int, Listen, Origins, Ranges, ResultCodes, Secret, Text, TextList,
    Unsupported,
};

const ONE_REPLICA: &str = "not supported by this version: it runs one replica on its embedded \
    queue, lock and buses; unset it";

/// The words of [`super::ResultClass`], as the `result_codes` table spells them.
pub(super) const RESULT_CLASSES: &[&str] =
    &["retryable", "throttled", "auth", "capability", "invalid", "gone"];

/// Every key there is, in the order of `default.toml`.
pub const KEYS: &[Key] = &[
    named("pipeline.enabled", Bool, "enable_vz_sync_pipeline"),
    named("pipeline.poll_seconds", Int(1, 300), "vz_sync_poll_seconds"),
    named("pipeline.claim_batch", Int(1, 10_000), "vz_sync_claim_batch"),
    named("pipeline.job_lock_seconds", Int(15, 3600), "vz_sync_job_lock_seconds"),
    key("pipeline.redispatch_seconds", Int(5, 3600)),
    key("pipeline.lock_collision_seconds", Int(1, 600)),
    key("pipeline.max_attempts", Int(1, 100)),
    key("pipeline.backoff_base_seconds", Int(1, 300)),
    key("pipeline.backoff_cap_seconds", Int(1, 300)),
    key("pipeline.retry_after_cap_seconds", Int(1, 86_400)),
    named("intervals.full_minutes", Int(1, 10_080), "vz_sync_full_interval_minutes"),
    named("intervals.delta_minutes", Int(1, 1440), "vz_sync_delta_interval_minutes"),
    key("intervals.jitter_percent", Int(0, 50)),
    key("intervals.demand_seconds", Int(1, 3600)),
    key("intervals.delta_overlap_seconds", Int(0, 3600)),
    key("intervals.auth_probe_minutes", Int(1, 1440)),
    named("limits.max_parallel_jobs", Int(1, 512), "vz_sync_max_parallel_jobs"),
    named("limits.max_parallel_per_team", Int(1, 64), "vz_sync_max_parallel_per_team"),
    key("limits.max_team_actors", Int(1, 100_000)),
    key("limits.platform_requests_per_second", Int(1, 100_000)),
    key("limits.team_requests_per_second", Int(1, 100_000)),
    key("limits.max_body_mib", Int(1, 4096)),
    key("limits.staging_rows", Int(1, 1_000_000)),
    key("limits.staging_connections", Int(1, 16)),
    key("limits.triggers_per_team_per_minute", Int(1, 10_000)),
    key("limits.sse_clients", Int(1, 1_000_000)),
    key("limits.sse_clients_per_subject", Int(1, 10_000)),
    key("timeouts.connect_seconds", Int(1, 60)),
    key("timeouts.first_byte_seconds", Int(1, 3600)),
    key("timeouts.between_chunks_seconds", Int(1, 600)),
    key("timeouts.run_seconds", Int(1, 3600)),
    key("timeouts.shutdown_seconds", Int(1, 300)),
    named("removal.hold_percent", Int(1, 100), "vz_sync_removal_hold_percent"),
    key("removal.hold_min_environments", Int(1, 1000)),
    key("removal.confirm_per_run", Int(0, 1000)),
    key("removal.empty_confirm_max", Int(0, 1000)),
    key("removal.reject_quiet_days", Int(0, 365)),
    key("staleness.environments_minutes", Int(1, 10_080)),
    key("staleness.nodes_minutes", Int(1, 10_080)),
    key("staleness.job_logs_minutes", Int(1, 10_080)),
    key("staleness.archived_sites_minutes", Int(1, 10_080)),
    named("http.listen", Listen, "vz_sync_listen"),
    named("http.cors_origins", Origins, "vz_sync_cors_origins"),
    key("http.body_limit_kib", Int(1, 1024)),
    key("http.header_timeout_seconds", Int(1, 120)),
    key("http.request_timeout_seconds", Int(1, 600)),
    key("http.sse_heartbeat_seconds", Int(1, 300)),
    key("http.sse_ticket_seconds", Int(5, 600)),
    named("admin.listen", Listen, "vz_sync_admin_listen"),
    named("admin.token", Secret(16), "vz_sync_admin_token"),
    named("auth.jwt_secret", Secret(32), "vz_sync_jwt_secret"),
    named(
        "auth.jwks_url",
        Unsupported("not supported by this version: set VZ_SYNC_JWT_SECRET (HS256) instead"),
        "vz_sync_jwks_url",
    ),
    key("auth.issuer", Text),
    key("auth.audience", Text),
    key("auth.leeway_seconds", Int(0, 300)),
    named("database.url", Secret(1), "vz_sync_database_url"),
    named("database.redis_url", Unsupported(ONE_REPLICA), "vz_sync_redis_url"),
    named("database.amqp_url", Unsupported(ONE_REPLICA), "vz_sync_amqp_url"),
    key("database.data_dir", Text),
    key("database.pool_size", Int(2, 512)),
    key("database.statement_timeout_seconds", Int(1, 3600)),
    named("secrets.master_keys", Secret(1), "vz_sync_master_keys"),
    key("platform.allow_http_loopback", Bool),
    key("platform.allowed_private_ranges", Ranges),
    key("platform.circuit_failures", Int(1, 1000)),
    key("platform.circuit_open_seconds", Int(1, 3600)),
    key("platform.result_codes", ResultCodes),
    key("retention.jobs_days", Int(1, 3650)),
    key("retention.outbox_days", Int(1, 3650)),
    key("retention.changes_days", Int(1, 3650)),
    key("retention.job_logs_days", Int(1, 3650)),
    key("retention.quarantine_days", Int(1, 3650)),
    key("retention.deleted_team_days", Int(0, 3650)),
    key("retention.idempotency_hours", Int(1, 720)),
    key("rollout.teams", IdList),
    key("rollout.cohorts", TextList),
    key("rollout.percent", Int(0, 100)),
    key("replica.heartbeat_seconds", Int(1, 60)),
    key("replica.dead_after_seconds", Int(2, 600)),
    key("replica.join_wait_seconds", Int(1, 600)),
    key("log.filter", Text),
    key("log.format", Choice(&["auto", "json", "human"])),
];

/// The key of a `section.key` path.
pub(super) fn by_path(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key of a short name, in any case.
pub(super) fn by_short(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.short.is_some_and(|short| short.eq_ignore_ascii_case(name)))
}

/// The known name closest to a mistyped one, if any is close.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .flat_map(|key| [Some(key.path), key.short])
        .flatten()
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> =
            KEYS.iter().flat_map(|k| [Some(k.path), k.short]).flatten().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        assert_eq!(nearest("pipeline.pol_seconds"), Some("pipeline.poll_seconds"));
        assert_eq!(nearest("vz_sync_lisen"), Some("vz_sync_listen"));
        assert_eq!(nearest("something.else"), None);
    }
}
