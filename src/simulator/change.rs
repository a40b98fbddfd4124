//! What can happen to an environment that stays, and doing it.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::estate::{Estate, Node, status};

/// What can happen to an environment that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A running environment stops, any other starts; the nodes with it.
    Power,
    /// Another display name.
    Rename,
    /// One node more or one less in the first layer.
    Scale,
    /// Another number of cloudlets for one node.
    Cloudlets,
    /// Another software version for one node.
    Redeploy,
}

impl Change {
    pub(crate) const ALL: [Self; 5] =
        [Self::Power, Self::Rename, Self::Scale, Self::Cloudlets, Self::Redeploy];

    /// What the history calls it.
    fn action(self, starts: bool) -> &'static str {
        match self {
            Self::Power if starts => "StartEnv",
            Self::Power => "StopEnv",
            Self::Rename => "SetEnvDisplayName",
            Self::Scale => "ChangeTopology",
            Self::Cloudlets => "SetCloudletsCountById",
            Self::Redeploy => "RedeployContainers",
        }
    }
}

/// Makes one change, always one that shows in a listing, and names its action.
pub(crate) fn apply(estate: &mut Estate, ordinal: u64, change: Change) -> &'static str {
    let dice = estate.rng.random_range(0..1000_u32);
    let grown = (change == Change::Scale).then(|| estate.node(0, false, status::RUNNING));
    let mut starts = false;
    if let Some(environment) = estate.environments.get_mut(&ordinal) {
        let count = environment.nodes.len().max(1);
        let chosen = environment.nodes.get_mut(dice as usize % count);
        match (change, chosen) {
            (Change::Power, _) => {
                starts = environment.status != status::RUNNING;
                environment.status = if starts { status::RUNNING } else { status::DOWN };
                for node in &mut environment.nodes {
                    node.status = environment.status;
                }
            }
            (Change::Scale, _) => {
                let spare = environment.nodes.iter().rposition(|node| !node.master);
                if let Some(place) = spare.filter(|_| dice % 2 == 0) {
                    environment.nodes.remove(place);
                } else {
                    let layer = environment.nodes.first().map_or(0, |first| first.layer);
                    let status = environment.status;
                    environment.nodes.extend(grown.map(|node| Node { layer, status, ..node }));
                }
            }
            (Change::Cloudlets, Some(node)) => {
                node.flexible_cloudlets = node.flexible_cloudlets % 32 + 1 + dice % 31;
            }
            (Change::Redeploy, Some(node)) => node.version = (node.version + 1) % 3,
            // An environment without nodes can still be renamed.
            (Change::Rename | Change::Cloudlets | Change::Redeploy, _) => {
                let name = format!("Renamed {} {dice}", environment.version);
                environment.display_name = Some(name);
            }
        }
    }
    estate.touch(ordinal);
    change.action(starts)
}
