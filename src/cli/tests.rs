//! Commands as a user types them.

use std::io;
use std::sync::{Arc, Mutex};

use clap::CommandFactory;
use serde_json::Value as Json;

use super::*;
use crate::config::Loaded;
use crate::http::auth::{Role, Verifier};
use crate::secrets::KeyRing;

const SECRET: &str = "canary-secret-of-at-least-32-bytes";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

async fn typed(line: &str, variables: &[(&str, &str)]) -> (Exit, String, String) {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let environment = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let (out, err) = (Captured::default(), Captured::default());
    let output = Output::to(cli.global.json, Box::new(out.clone()), Box::new(err.clone()));
    let exit = execute(cli, environment, output).await;
    (exit, out.text(), err.text())
}

#[test]
fn the_tree_is_well_formed_and_every_argument_is_explained() {
    fn explained(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(explained);
    }
    Cli::command().debug_assert();
    explained(&Cli::command());
    // Those that wait for their wiring are held to the same.
    let waiting = clap::Command::new("waiting").about("x");
    let waiting = serve::ServeArgs::augment_args(waiting);
    let waiting = waiting.subcommand(demo::DemoArgs::augment_args(clap::Command::new("demo")));
    let waiting = migrate::MigrateCommand::augment_subcommands(waiting);
    let waiting = teams::TeamsCommand::augment_subcommands(waiting);
    let waiting = credentials::CredentialsCommand::augment_subcommands(waiting);
    waiting.clone().debug_assert();
    explained(&waiting);
}

#[test]
fn only_what_works_is_offered() {
    let offered: Vec<_> =
        Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let works = [
        "serve",
        "demo",
        "teams",
        "credentials",
        "keys",
        "token",
        "config",
        "migrate",
        "simulate",
        "bench",
    ];
    assert_eq!(offered, works);
}

#[test]
fn every_exit_code_is_in_the_help() {
    use Exit::{Config, Dependency, Failure, Interrupted, Ok, Usage};
    for exit in [Ok, Failure, Usage, Config, Dependency, Interrupted] {
        assert!(exit::HELP.contains(&format!("\n  {} ", exit as u8)), "{exit:?}");
    }
}

#[tokio::test]
async fn a_generated_key_makes_a_ring() {
    let (exit, out, err) = typed("vz-sync keys generate --id 2026-11", &[]).await;
    assert_eq!(exit, Exit::Ok);
    let ring = KeyRing::parse(&out.trim().into()).unwrap();
    assert_eq!(ring.primary_id(), "2026-11");
    assert!(err.contains("Keep a copy"));
    let (exit, out, _) = typed("vz-sync --json keys generate", &[]).await;
    let json: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::Ok);
    assert!(json["id"].as_str().unwrap().starts_with("k2"), "{json}");
    let (exit, _, err) = typed("vz-sync keys generate --id a:b", &[]).await;
    assert_eq!(exit, Exit::Usage, "{err}");
}

#[tokio::test]
async fn a_generated_set_is_a_good_configuration() {
    let (_, out, _) = typed("vz-sync --json keys generate --env", &[]).await;
    let set: BTreeMap<String, String> = serde_json::from_str(&out).unwrap();
    let variables: Vec<_> = set.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (exit, out, err) = typed("vz-sync config check", &variables).await;
    assert_eq!(exit, Exit::Ok, "{out}{err}");
    assert!(!err.contains("MASTER_KEYS") && err.contains("DATABASE_URL"), "{err}");
}

#[tokio::test]
async fn a_minted_token_is_taken_by_the_verifier() {
    let variables = [("VZ_SYNC_JWT_SECRET", SECRET)];
    let line = "vz-sync token --team 42=owner --team 7=developer --subject ann";
    let (exit, out, _) = typed(line, &variables).await;
    assert_eq!(exit, Exit::Ok);
    let sources = crate::config::Sources {
        environment: [("VZ_SYNC_JWT_SECRET".into(), SECRET.into())].into(),
        ..Default::default()
    };
    let auth = Loaded::load(&sources).unwrap().config.auth;
    let identity = Verifier::from_config(&auth).unwrap().verify(out.trim()).unwrap();
    assert_eq!((identity.subject.as_str(), identity.role(42)), ("ann", Some(Role::Owner)));
}

#[tokio::test]
async fn a_token_is_not_minted_for_the_world_or_without_a_secret() {
    let (exit, out, err) = typed("vz-sync token --team 1=owner", &[]).await;
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.contains("VZ_SYNC_JWT_SECRET"), "{err}");
    let public = [("VZ_SYNC_JWT_SECRET", SECRET), ("VZ_SYNC_LISTEN", "0.0.0.0:8080")];
    let (exit, _, err) = typed("vz-sync token --team 1=owner", &public).await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("dashboard"), "{err}");
    let (exit, ..) = typed("vz-sync token --team 1=owner --force", &public).await;
    assert_eq!(exit, Exit::Ok);
}

#[tokio::test]
async fn a_refused_configuration_ends_with_its_own_code() {
    let bad = [("VZ_SYNC_POLL_SECONDS", "0"), ("VZ_SYNC_JWT_SECRET", "canary")];
    for command in ["config check", "config print", "token --team 1=owner"] {
        let (exit, out, err) = typed(&format!("vz-sync {command}"), &bad).await;
        assert_eq!((exit, out.as_str()), (Exit::Config, ""), "{command}");
        assert!(err.contains("pipeline.poll_seconds") && err.contains("from 1 to 300"), "{err}");
        assert!(!err.contains("canary"));
    }
    let (exit, out, _) = typed("vz-sync --json config check", &bad).await;
    let json: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, json["problems"][0]["origin"].is_string()), (Exit::Config, true));
    let (_, out, err) = typed("vz-sync --json config print", &bad).await;
    let json: Json = serde_json::from_str(&err).unwrap();
    assert_eq!((out.as_str(), json["error"]["kind"].as_str()), ("", Some("config")));
}

#[tokio::test]
async fn print_hides_secrets_and_names_origins() {
    let variables = [("VZ_SYNC_JWT_SECRET", SECRET), ("VZ_SYNC_LISTEN", "127.0.0.1:9999")];
    let (exit, out, _) = typed("vz-sync --log-format json config print", &variables).await;
    assert_eq!(exit, Exit::Ok);
    assert!(!out.contains("canary"), "{out}");
    assert!(out.contains("environment variable VZ_SYNC_LISTEN"), "{out}");
    assert!(out.contains("flag --log-format"), "{out}");
}

#[tokio::test]
async fn the_file_comes_from_the_flag_or_the_environment() {
    let missing = [("VZ_SYNC_CONFIG", "/nonexistent/environment.toml")];
    let (exit, _, err) = typed("vz-sync config check", &missing).await;
    assert_eq!(exit, Exit::Config);
    assert!(err.contains("/nonexistent/environment.toml"), "{err}");
    let (_, _, err) = typed("vz-sync config check --config /nonexistent/flag.toml", &missing).await;
    assert!(err.contains("/nonexistent/flag.toml"), "the flag wins: {err}");
}

#[test]
fn flags_of_waiting_commands_are_keys_of_the_configuration() {
    let demo = demo::DemoArgs {
        data_dir: ".demo".into(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        admin_listen: Some("127.0.0.1:0".parse().unwrap()),
        simulator_listen: "127.0.0.1:0".parse().unwrap(),
        fresh: false,
    };
    let sources = crate::config::Sources { flags: demo.overrides(), ..Default::default() };
    let config = Loaded::load(&sources).unwrap().config;
    assert!(config.pipeline.enabled && config.platform.allow_http_loopback);
    assert_eq!(config.database.data_dir, PathBuf::from(".demo"));
}

#[tokio::test]
async fn a_demo_opens_nothing_to_the_network_whatever_says_so() {
    let dir = std::env::temp_dir().join(format!("vz-test-demo-{}", std::process::id()));
    let line = format!("vz-sync demo --data-dir {}", dir.display());
    for (variable, key) in
        [("VZ_SYNC_LISTEN", "http.listen"), ("VZ_SYNC_ADMIN_LISTEN", "admin.listen")]
    {
        let (exit, _, err) = typed(&line, &[(variable, "0.0.0.0:0")]).await;
        assert_eq!(exit, Exit::Config, "{err}");
        assert!(err.contains(key) && err.contains(variable) && err.contains("loopback"), "{err}");
    }
    let file = dir.with_extension("toml");
    std::fs::write(&file, "[http]\nlisten = \"[::]:0\"\n").unwrap();
    let (exit, _, err) = typed(&format!("{line} --config {}", file.display()), &[]).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(exit, Exit::Config, "{err}");
    assert!(err.contains("http.listen") && err.contains(&*file.to_string_lossy()), "{err}");
    assert!(!dir.exists(), "nothing was made");
}
