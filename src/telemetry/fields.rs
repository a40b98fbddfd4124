//! The allow-list. A field that is not here never reaches a line.

/// The names of all fields that may be logged, sorted.
///
/// Before adding one, ask what the worst value is that it could ever carry. Never
/// add a payload, a header, a query, a URL with its query, or a whole object.
pub const SAFE_FIELDS: &[&str] = &[
    "actor",
    "addr",
    "address",
    "admin_addr",
    "admin_listen",
    "age_seconds",
    "applied",
    "attempt",
    "bytes",
    "cause",
    "changed",
    "circuit",
    "claimed",
    "class",
    "cohort",
    "count",
    "data_dir",
    "data_type",
    "deadline_ms",
    "delay",
    "delay_ms",
    "depth",
    "dir",
    "downgrade",
    "duration_ms",
    "elapsed_ms",
    "environments",
    "error",
    "error_class",
    "event",
    "event_id",
    "event_no",
    "event_type",
    "failures",
    "fence",
    "heartbeat_age_ms",
    "held",
    "hold_id",
    "host",
    "http_status",
    "inserted",
    "items",
    "job_id",
    "key_id",
    "kind",
    "lag_ms",
    "lane",
    "lease_owner",
    "lease_run",
    "lease_until",
    "limit",
    "line",
    "listed",
    "listen",
    "location",
    "mailbox",
    "max_age_seconds",
    "message_name",
    "method",
    "migration",
    "missing",
    "mode",
    "next_at",
    "nodes",
    "not_before",
    "outcome",
    "partial",
    "path",
    "permission",
    "phase",
    "pid",
    "platform",
    "pool",
    "port",
    "position",
    "priority",
    "quarantined",
    "queue",
    "reason",
    "released",
    "replica",
    "request_id",
    "restarts",
    "result_code",
    "retry_after_seconds",
    "role",
    "route",
    "rows",
    "scope",
    "seed",
    "signal",
    "size",
    "span_id",
    "stale",
    "state",
    "status",
    "subject",
    "task",
    "team_id",
    "teams",
    "thread",
    "trace_id",
    "trigger",
    "unchanged",
    "updated",
    "version",
    "wait_ms",
    "waited_ms",
];

/// Whether a field may be logged.
pub fn is_safe(name: &str) -> bool {
    SAFE_FIELDS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_the_search_finds() {
        assert!(SAFE_FIELDS.is_sorted());
        assert!(is_safe("team_id") && is_safe("actor") && is_safe("waited_ms"));
    }

    #[test]
    fn nothing_that_smells_of_a_secret_is_listed() {
        for name in SAFE_FIELDS {
            for smell in ["session", "password", "token", "secret", "payload", "header", "body"] {
                assert!(!name.contains(smell), "{name}");
            }
        }
    }
}
