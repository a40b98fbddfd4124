//! What a person editing the configuration relies on.

use std::io::Write as _;

use secrecy::ExposeSecret;

use super::super::{LogFormat, ResultClass};
use super::*;

fn with(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Loaded::load(&Sources { environment, ..Sources::default() })
}

fn refused(variables: &[(&str, &str)]) -> String {
    with(variables).expect_err("must be refused").to_string()
}

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    // A name of its own for each call: tests run side by side in one process.
    let path = std::env::temp_dir().join(format!("vz-sync-config-{}.toml", uuid::Uuid::new_v4()));
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let loaded = Loaded::load(&Sources { file: Some(path.clone()), ..Sources::default() });
    std::fs::remove_file(path).unwrap();
    loaded
}

fn origin_of(loaded: &Loaded, path: &str) -> String {
    loaded.settings.iter().find(|s| s.path == path).unwrap().origin.clone()
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let c = Loaded::defaults().unwrap().config;
    assert!(!c.pipeline.enabled);
    assert_eq!((c.intervals.full_minutes.0, c.intervals.delta_minutes.0), (60, 10));
    assert_eq!((c.pipeline.job_lock_seconds.0, c.pipeline.poll_seconds.0), (180, 30));
    assert_eq!((c.limits.max_parallel_jobs, c.limits.max_parallel_per_team), (5, 2));
    assert_eq!(c.pipeline.claim_batch, 1000);
    assert_eq!((c.removal.hold_percent, c.removal.hold_min_environments), (30, 5));
    assert_eq!((c.timeouts.connect_seconds.0, c.timeouts.first_byte_seconds.0), (5, 120));
    assert_eq!((c.timeouts.between_chunks_seconds.0, c.timeouts.run_seconds.0), (15, 150));
    assert_eq!(c.limits.max_body_bytes(), 256 * 1024 * 1024);
    assert_eq!(c.limits.platform_requests_per_second, 10);
    assert_eq!(c.limits.team_requests_per_second, 2);
    assert_eq!((c.staleness.environments_minutes.0, c.staleness.nodes_minutes.0), (15, 15));
    assert_eq!((c.staleness.job_logs_minutes.0, c.staleness.archived_sites_minutes.0), (30, 120));
    assert_eq!((c.replica.heartbeat_seconds.0, c.replica.dead_after_seconds.0), (5, 15));
    assert_eq!(c.platform.classify(702), ResultClass::Auth);
    assert_eq!(c.platform.classify(424_242), ResultClass::Retryable);
    assert_eq!(c.log.format, LogFormat::Auto);
}

#[test]
fn the_manual_the_table_and_the_structs_agree() {
    // The manual's keys are all known, or the defaults would not load; here the other way.
    let manual = DEFAULT_TOML;
    for key in KEYS.iter().filter(|key| !matches!(key.kind, Kind::Unsupported(_))) {
        let (section, name) = key.path.split_once('.').unwrap();
        let known = manual.contains(&format!("\n{name} ="))
            || manual.contains(&format!("\n# {name} ="))
            || manual.contains(&format!("[{section}.{name}]"));
        assert!(known, "{} is missing in default.toml", key.path);
        if let Some(short) = key.short {
            let bracketed = format!("[{}]", short.to_ascii_uppercase());
            assert!(manual.contains(&bracketed), "{bracketed} is missing in default.toml");
        }
    }
    // Every key reaches its struct: each one has a field, or deny_unknown_fields would refuse.
    let ring = crate::secrets::MasterKey::generate("k").unwrap().to_entry();
    with(&[
        ("VZ_SYNC_ADMIN_TOKEN", "0123456789abcdef"),
        ("VZ_SYNC_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("VZ_SYNC_DATABASE_URL", "postgres://u:p@h/d"),
        ("VZ_SYNC_MASTER_KEYS", ring.expose_secret()),
    ])
    .unwrap();
}

#[test]
fn the_plans_names_work_in_either_case() {
    for name in ["vz_sync_full_interval_minutes", "VZ_SYNC_FULL_INTERVAL_MINUTES"] {
        let loaded = with(&[(name, "45")]).unwrap();
        assert_eq!(loaded.config.intervals.full_minutes.0, 45);
        assert_eq!(
            origin_of(&loaded, "intervals.full_minutes"),
            format!("environment variable {name}")
        );
    }
    assert!(with(&[("ENABLE_VZ_SYNC_PIPELINE", "true")]).unwrap().config.pipeline.enabled);
    assert!(with(&[("enable_vz_sync_pipeline", "1")]).unwrap().config.pipeline.enabled);
    let loaded = from_file("vz_sync_poll_seconds = 15\nenable_vz_sync_pipeline = true\n").unwrap();
    assert_eq!(loaded.config.pipeline.poll_seconds.0, 15);
    assert!(loaded.config.pipeline.enabled);
}

#[test]
fn later_layers_win_and_say_so() {
    let path = std::env::temp_dir().join(format!("vz-sync-layers-{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, "[http]\nlisten = \"127.0.0.1:1001\"\n[timeouts]\nrun_seconds = 100\n")
        .unwrap();
    let sources = Sources {
        file: Some(path.clone()),
        environment: [("VZ_SYNC_LISTEN".to_owned(), "127.0.0.1:1002".to_owned())].into(),
        flags: vec![("http.listen", "127.0.0.1:1003".into(), "--listen")],
    };
    let loaded = Loaded::load(&sources).unwrap();
    assert_eq!(loaded.config.http.listen.port(), 1003);
    assert_eq!(origin_of(&loaded, "http.listen"), "flag --listen");
    let loaded = Loaded::load(&Sources { flags: vec![], ..sources.clone() }).unwrap();
    assert_eq!(loaded.config.http.listen.port(), 1002);
    let loaded = Loaded::load(&Sources { file: Some(path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(loaded.config.http.listen.port(), 1001);
    assert_eq!(origin_of(&loaded, "timeouts.run_seconds"), format!("file {}", path.display()));
    assert_eq!(origin_of(&loaded, "timeouts.connect_seconds"), "default");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn nested_names_reach_every_section() {
    let loaded = with(&[
        ("VZ_SYNC_TIMEOUTS__RUN_SECONDS", "120"),
        ("vz_sync_staleness__nodes_minutes", "7"),
        ("VZ_SYNC_ROLLOUT__TEAMS", "3, 42"),
        ("VZ_SYNC_CORS_ORIGINS", "https://a.example,https://b.example:8443"),
        ("VZ_SYNC_PLATFORM__ALLOWED_PRIVATE_RANGES", "10.0.0.0/8"),
        ("VZ_SYNC_LOG__FORMAT", "json"),
    ])
    .unwrap();
    let c = loaded.config;
    assert_eq!((c.timeouts.run_seconds.0, c.staleness.nodes_minutes.0), (120, 7));
    assert_eq!(c.rollout.teams, [3, 42]);
    assert_eq!(c.http.cors_origins, ["https://a.example", "https://b.example:8443"]);
    assert!(c.platform.allowed_private_ranges[0].contains("10.1.2.3".parse().unwrap()));
    assert_eq!(c.log.format, LogFormat::Json);
}

#[test]
fn impossible_values_are_refused_with_key_and_range() {
    let cases = [
        ("VZ_SYNC_POLL_SECONDS", "0", "pipeline.poll_seconds", "from 1 to 300"),
        ("VZ_SYNC_POLL_SECONDS", "soon", "pipeline.poll_seconds", "from 1 to 300"),
        ("VZ_SYNC_POLL_SECONDS", "-1", "pipeline.poll_seconds", "from 1 to 300"),
        ("VZ_SYNC_POLL_SECONDS", "1.5", "pipeline.poll_seconds", "from 1 to 300"),
        ("VZ_SYNC_REMOVAL_HOLD_PERCENT", "101", "removal.hold_percent", "from 1 to 100"),
        ("ENABLE_VZ_SYNC_PIPELINE", "maybe", "pipeline.enabled", "true or false"),
        ("VZ_SYNC_LISTEN", "localhost:80", "http.listen", "127.0.0.1:8080"),
        ("VZ_SYNC_ADMIN_LISTEN", "127.0.0.1:8080", "admin.listen", "differ from http.listen"),
        ("VZ_SYNC_CORS_ORIGINS", "*", "http.cors_origins", "https://app.example.com"),
        ("VZ_SYNC_CORS_ORIGINS", "https://a/b", "http.cors_origins", "without path"),
        ("VZ_SYNC_JOB_LOCK_SECONDS", "160", "pipeline.job_lock_seconds", "= 165"),
        ("VZ_SYNC_PLATFORM__ALLOWED_PRIVATE_RANGES", "10.0.0.0", "platform.allowed_private", "/16"),
        ("VZ_SYNC_ROLLOUT__TEAMS", "0", "rollout.teams", "from 1"),
        ("VZ_SYNC_LOG__FORMAT", "xml", "log.format", "auto, json, human"),
        ("VZ_SYNC_LOG__FILTER", "vz_sync=loud", "log.filter", "info,vz_sync=debug"),
        ("VZ_SYNC_PLATFORM__RESULT_CODES", "3=auth", "platform.result_codes", "in a file"),
        ("VZ_SYNC_REPLICA__DEAD_AFTER_SECONDS", "9", "replica.dead_after_seconds", "= 10"),
        ("VZ_SYNC_REPLICA__JOIN_WAIT_SECONDS", "15", "replica.join_wait_seconds", "less than"),
        ("VZ_SYNC_REPLICA__JOIN_WAIT_SECONDS", "5", "replica.join_wait_seconds", "more than"),
    ];
    for (name, value, key, hint) in cases {
        let error = refused(&[(name, value)]);
        assert!(error.contains(key) && error.contains(hint), "{name}={value}: {error}");
        assert!(error.contains(name), "the origin is named: {error}");
    }
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let error = refused(&[("VZ_SYNC_POLL_SECOND", "3")]);
    assert!(error.contains("VZ_SYNC_POLL_SECOND"), "{error}");
    assert!(error.contains("did you mean vz_sync_poll_seconds"), "{error}");
    assert!(refused(&[("VZ_SYNC_NOWHERE__KEY", "3")]).contains("VZ_SYNC_NOWHERE__KEY"));
    let error = from_file("colour = 3\n[timeouts]\nrun_second = 3\n").unwrap_err().to_string();
    assert!(error.contains("colour") && error.contains("timeouts.run_second"), "{error}");
    assert!(with(&[("PATH", "/bin"), ("VZ_SYNC_BIN", "x"), ("VZ_SYNC_CONFIG", "y")]).is_ok());
}

#[test]
fn the_same_key_twice_is_refused() {
    let twice = [("VZ_SYNC_LISTEN", "127.0.0.1:1"), ("VZ_SYNC_HTTP__LISTEN", "127.0.0.1:2")];
    assert!(refused(&twice).contains("VZ_SYNC_HTTP__LISTEN"));
    let text = "vz_sync_poll_seconds = 15\n[pipeline]\npoll_seconds = 16\n";
    assert!(from_file(text).unwrap_err().to_string().contains("pipeline.poll_seconds"));
}

#[test]
fn what_has_no_adapter_yet_is_refused_with_a_way_out() {
    for name in ["VZ_SYNC_REDIS_URL", "VZ_SYNC_AMQP_URL"] {
        let error = refused(&[(name, "redis://10.0.0.1")]);
        assert!(error.contains(name) && error.contains("one replica"), "{error}");
    }
    assert!(refused(&[("VZ_SYNC_JWKS_URL", "https://id")]).contains("VZ_SYNC_JWT_SECRET"));
    assert!(with(&[("VZ_SYNC_REDIS_URL", "")]).is_ok(), "an empty variable counts as unset");
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = with(&[("VZ_SYNC_POLL_SECONDS", "0"), ("VZ_SYNC_CLAIM_BATCH", "0")]).unwrap_err();
    assert_eq!(error.problems.len(), 2);
    assert!(error.to_string().starts_with("the configuration has 2 problems:"));
}

#[test]
fn secrets_show_nowhere() {
    const CANARY: &str = "canary-0123456789-0123456789-0123456789";
    let url = format!("postgres://u:{CANARY}@h/d");
    let loaded = with(&[
        ("VZ_SYNC_JWT_SECRET", CANARY),
        ("VZ_SYNC_ADMIN_TOKEN", CANARY),
        ("VZ_SYNC_DATABASE_URL", &url),
    ])
    .unwrap();
    assert_eq!(loaded.config.auth.jwt_secret.as_ref().unwrap().expose_secret(), CANARY);
    let shown = format!("{loaded:?} {} {}", loaded.to_toml(), loaded.to_json());
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(shown.matches("<redacted>").count(), 9, "three secrets, three ways of printing");

    let environment = [("VZ_SYNC_JWT_SECRET".to_owned(), CANARY.to_owned())].into();
    assert!(!format!("{:?}", Sources { environment, ..Sources::default() }).contains("canary"));

    let digits = with(&[("VZ_SYNC_JWT_SECRET", "12345678901234567890123456789012")]).unwrap();
    assert!(digits.config.auth.jwt_secret.is_some(), "a secret of digits stays a text");

    let errors = [
        refused(&[("VZ_SYNC_JWT_SECRET", "canary-short")]),
        refused(&[("VZ_SYNC_MASTER_KEYS", "k:canary")]),
        refused(&[("VZ_SYNC_DATABASE_URL", "canary")]),
        from_file("[auth]\njwt_secret = canary\n").unwrap_err().to_string(),
        from_file("[auth]\njwt_secret = \"canary\n").unwrap_err().to_string(),
        from_file("[auth]\njwt_secret = [\"canary\"]\n").unwrap_err().to_string(),
        from_file("[auth]\ncanary\n").unwrap_err().to_string(),
    ];
    for error in errors {
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn print_is_stable() {
    let loaded = with(&[
        ("VZ_SYNC_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("vz_sync_poll_seconds", "15"),
    ])
    .unwrap();
    insta::assert_snapshot!(loaded.to_toml());
    insta::assert_json_snapshot!(loaded.to_json()["pipeline"]);
}

#[test]
fn what_is_printed_can_be_read_back() {
    let printed = Loaded::defaults().unwrap().to_toml();
    let again = from_file(&printed).unwrap();
    for setting in Loaded::defaults().unwrap().settings {
        let read = again.settings.iter().find(|s| s.path == setting.path).unwrap();
        assert_eq!(read.value, setting.value, "{}", setting.path);
    }
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("/nonexistent/vz.toml".into()), ..Sources::default() };
    assert!(Loaded::load(&sources).unwrap_err().to_string().contains("/nonexistent/vz.toml"));
}

#[test]
fn a_file_changes_single_result_codes() {
    let loaded = from_file("[platform.result_codes]\n17 = \"throttled\"\n9000 = \"auth\"\n");
    let platform = loaded.unwrap().config.platform;
    assert_eq!(platform.classify(17), ResultClass::Throttled);
    assert_eq!(platform.classify(9000), ResultClass::Auth);
    assert_eq!(platform.classify(11), ResultClass::Gone, "the others stay");
    assert!(from_file("[platform.result_codes]\n1 = \"sad\"\n").is_err());
    assert!(from_file("[platform.result_codes]\n0 = \"auth\"\n").is_err());
}
