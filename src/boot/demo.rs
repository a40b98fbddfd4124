//! The demo: a platform, two teams and the whole service in one process.
//!
//! Owns the secrets of its data directory: made once, kept for its owner
//! alone, so that what is sealed and signed today can be opened tomorrow.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vz_sync_actors::domain::TeamId;
use vz_sync_actors::ports::credentials::OnOtherAccount;
use vz_sync_actors::ports::teams::{NewTeam, Rollout};

use super::adapters::key_ring;
use super::database::cluster_dir;
use super::{Adapters, Database, Service};
use crate::adapters::postgres::cluster::Cluster;
use crate::adapters::postgres::ownership::{self, Holds};
use crate::config::Config;
use crate::http::auth::{Minter, Role, unix_now};
use crate::secrets::MasterKey;
use crate::simulator::{self, AccountSpec, Rate, Simulator, SimulatorOptions};

/// Name of the file for visitors.
const WELCOME: &str = "demo.json";
/// Who is noted as the author of what the demo sets up.
const BY: &str = "demo";
/// How long the ready-made tokens live.
const TOKEN_LIFE: u64 = 7 * 24 * 3600;

/// A team of the demo.
struct DemoTeam {
    id: TeamId,
    name: &'static str,
    environments: usize,
    nodes: usize,
}

const TEAMS: [DemoTeam; 2] = [
    DemoTeam { id: TeamId(1), name: "Small team", environments: 12, nodes: 2 },
    DemoTeam { id: TeamId(2), name: "Big team", environments: 2000, nodes: 3 },
];

/// What the data directory keeps secret between two runs.
#[derive(Serialize, Deserialize)]
pub struct DemoSecrets {
    master_keys: String,
    jwt_secret: String,
    admin_token: String,
}

impl DemoSecrets {
    /// Reads the directory's secrets, or makes them.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("secrets.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} cannot be read (--fresh starts anew)", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::make()?;
                write_private(&path, &serde_json::to_vec_pretty(&made)?)?;
                Ok(made)
            }
            Err(error) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    fn make() -> Result<Self> {
        let random = || STANDARD.encode(rand::random::<[u8; 32]>());
        let key = MasterKey::generate("demo")?;
        Ok(Self {
            master_keys: key.to_entry().expose_secret().to_owned(),
            jwt_secret: random(),
            admin_token: random(),
        })
    }

    /// The same as settings of the service.
    pub fn overrides(&self) -> Vec<(&'static str, String, &'static str)> {
        vec![
            ("secrets.master_keys", self.master_keys.clone(), "demo"),
            ("auth.jwt_secret", self.jwt_secret.clone(), "demo"),
            ("admin.token", self.admin_token.clone(), "demo"),
        ]
    }
}

/// Starts the platform of the demo. It changes by itself, a little all the
/// time, so that there is something to see.
pub async fn platform(listen: SocketAddr) -> Result<Simulator> {
    let accounts = TEAMS
        .iter()
        .enumerate()
        .map(|(index, team)| AccountSpec::numbered(index + 1, team.environments, team.nodes))
        .collect();
    let options = SimulatorOptions {
        listen,
        accounts,
        control: true,
        evolve: "6/m".parse::<Rate>().ok(),
        ..SimulatorOptions::default()
    };
    Ok(simulator::start(options).await?)
}

/// Refuses a database that holds an installation of somebody else. Called
/// before anything is written to it, the schema included.
pub async fn ensure_ours(database: &Database, config: &Config) -> Result<()> {
    let ring = key_ring(config)?;
    let holds = ownership::holds(&database.connect().await?, &ring).await?;
    anyhow::ensure!(
        holds != Holds::Others,
        "the database holds teams that this demo did not make: unset VZ_SYNC_DATABASE_URL and give \
         the demo a --data-dir of its own, or name an empty database"
    );
    Ok(())
}

/// Adds the teams with their keys, unless an earlier run did, and lets them
/// take part. Before the engine starts, or its first runs would ask the
/// platform of an earlier run.
pub async fn teams(adapters: &Adapters, platform: &Simulator) -> Result<()> {
    let (teams, credentials) = (&adapters.teams, &adapters.ports.credentials);
    let rollout = teams.rollout().await?;
    if !rollout.enabled {
        teams.set_rollout(&Rollout { enabled: true, ..rollout }, BY).await?;
    }
    let url = platform.base_url();
    for (index, team) in TEAMS.iter().enumerate() {
        let account = AccountSpec::numbered(index + 1, team.environments, team.nodes);
        let known = teams.get(team.id).await?;
        if known.is_some_and(|known| known.platform_url == url && known.has_credentials) {
            continue;
        }
        teams
            .put(&NewTeam {
                id: team.id,
                name: team.name.to_owned(),
                platform_url: url.clone(),
                cohorts: None,
                // The simulator may listen elsewhere than the last time.
                same_account: true,
            })
            .await?;
        // Sealed with the platform's URL: a key moves only by being sealed anew.
        let token = SecretString::from(account.token);
        let refuse = OnOtherAccount::Refuse;
        credentials.replace(team.id, token, account.uid, refuse, BY).await?;
    }
    Ok(())
}

/// What a visitor needs: written to `demo.json` once all is up, and withdrawn
/// with the value, so that the file is there while the demo is.
pub struct Welcome {
    /// Where it was written.
    pub path: PathBuf,
    /// Its content.
    pub json: serde_json::Value,
}

impl Drop for Welcome {
    fn drop(&mut self) {
        // One that stays is removed by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the `demo.json` of a run that was killed.
pub fn withdraw(dir: &Path) -> Result<()> {
    let path = dir.join(WELCOME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes `demo.json`.
pub fn welcome(
    dir: &Path,
    config: &Config,
    secrets: &DemoSecrets,
    service: &Service,
    platform: &Simulator,
) -> Result<Welcome> {
    let minter = Minter::from_config(&config.auth).context("the demo has no signing secret")?;
    let now = unix_now();
    let token = |role: Role| {
        let teams: Vec<(i64, Role)> = TEAMS.iter().map(|team| (team.id.0, role)).collect();
        minter.mint(
            &format!("{}@demo", json!(role).as_str().unwrap_or("user")),
            &teams,
            now,
            TOKEN_LIFE,
        )
    };
    let json = json!({
        "url": format!("http://{}", service.listening.api),
        "admin_url": format!("http://{}", service.listening.admin),
        "simulator_url": platform.base_url(),
        "platform_token": AccountSpec::numbered(1, 0, 0).token,
        "tokens": {
            "owner": token(Role::Owner)?.expose_secret(),
            "manager": token(Role::Manager)?.expose_secret(),
            "developer": token(Role::Developer)?.expose_secret(),
            "admin": secrets.admin_token,
        },
        "teams": TEAMS.iter().map(|team| team.id.0).collect::<Vec<_>>(),
    });
    let path = dir.join(WELCOME);
    write_private(&path, &serde_json::to_vec_pretty(&json)?)?;
    Ok(Welcome { path, json })
}

/// Refuses a directory in which a demo runs.
pub fn ensure_free(dir: &Path) -> Result<()> {
    anyhow::ensure!(!Cluster::is_kept(&cluster_dir(dir))?, busy(dir));
    Ok(())
}

fn busy(dir: &Path) -> String {
    format!("a demo runs in {}: stop it first, or choose another --data-dir", dir.display())
}

/// Throws away what an earlier demo left; refuses a directory that is not one,
/// or in which a demo runs.
pub async fn forget(dir: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(dir) else { return Ok(()) };
    let ours = dir.join("secrets.json").exists() || dir.join(WELCOME).exists();
    if !ours {
        anyhow::ensure!(
            entries.next().is_none(),
            "{} was not made by the demo: --fresh does not touch it",
            dir.display()
        );
        return Ok(());
    }
    let cluster = cluster_dir(dir);
    // Held while the files go: nobody starts a server on half of them.
    let _vacated = if cluster.exists() {
        Some(Cluster::vacate(&cluster).await?.with_context(|| busy(dir))?)
    } else {
        None
    };
    fs::remove_dir_all(dir).with_context(|| format!("{} cannot be removed", dir.display()))
}

/// Replaces a file in one step, for its owner alone.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("{} cannot be written", draft.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path).with_context(|| format!("{} cannot be written", path.display()))
}
