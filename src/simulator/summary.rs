//! What an account holds, in a form that a mirror can be compared with.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::estate::{Environment, Estate, LAYERS, Node};
use super::world::hex;

/// What an account holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// The account.
    pub uid: i64,
    /// How many environments.
    pub environments: usize,
    /// How many nodes in all of them.
    pub nodes: usize,
    /// [`AccountSummary::hash_of`] the items.
    pub hash: String,
    /// The environments in creation order.
    pub items: Vec<EnvironmentSummary>,
}

/// One environment of an [`AccountSummary`]. Everything that a change of the world can alter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentSummary {
    /// Its permanent id.
    pub appid: String,
    /// Its name.
    pub name: String,
    /// Its alias, if it has one.
    pub display_name: Option<String>,
    /// Its status number.
    pub status: u16,
    /// Its nodes.
    pub nodes: Vec<NodeSummary>,
}

/// One node of an [`EnvironmentSummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its id, unique on the platform.
    pub id: i64,
    /// Its status number.
    pub status: u16,
    /// Its layer, `nodeGroup` on the wire.
    pub node_group: String,
    /// Its `flexibleCloudlets`.
    pub flexible_cloudlets: u32,
    /// Its software version.
    pub version: String,
}

impl AccountSummary {
    pub(crate) fn of(estate: &Estate) -> Self {
        let items = estate.environments.values().map(EnvironmentSummary::of).collect::<Vec<_>>();
        Self {
            uid: estate.uid,
            environments: items.len(),
            nodes: items.iter().map(|item| item.nodes.len()).sum(),
            hash: Self::hash_of(&items),
            items,
        }
    }

    /// SHA-256, in hex, over one line for each environment and node, sorted by bytes, each ended
    /// by a newline: `e <appid> <envName> <status> <displayName or ->` and
    /// `n <appid> <id> <status> <nodeGroup> <flexibleCloudlets> <version>`. A mirror's rows in this
    /// form hash to the same value exactly when they are what the platform holds.
    pub fn hash_of(items: &[EnvironmentSummary]) -> String {
        let mut lines = Vec::new();
        for item in items {
            let EnvironmentSummary { appid, name, status, .. } = item;
            let display_name = item.display_name.as_deref().unwrap_or("-");
            lines.push(format!("e {appid} {name} {status} {display_name}\n"));
            lines.extend(item.nodes.iter().map(|node| {
                let NodeSummary { id, status, node_group, flexible_cloudlets, version } = node;
                format!("n {appid} {id} {status} {node_group} {flexible_cloudlets} {version}\n")
            }));
        }
        lines.sort_unstable();
        let mut hash = Sha256::new();
        for line in lines {
            hash.update(line);
        }
        hex(&hash.finalize())
    }
}

impl EnvironmentSummary {
    fn of(environment: &Environment) -> Self {
        Self {
            appid: environment.appid.clone(),
            name: environment.name.clone(),
            display_name: environment.display_name.clone(),
            status: environment.status,
            nodes: environment.nodes.iter().map(NodeSummary::of).collect(),
        }
    }
}

impl NodeSummary {
    fn of(node: &Node) -> Self {
        let layer = &LAYERS[node.layer];
        Self {
            id: node.id,
            status: node.status,
            node_group: layer.group.to_owned(),
            flexible_cloudlets: node.flexible_cloudlets,
            version: layer.versions[node.version].to_owned(),
        }
    }
}
