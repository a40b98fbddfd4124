//! What never leaves the adapter, by kind of element. The canonical form and the names of secrets
//! are the domain's; here stand only the names that depend on where they stand.

use vz_sync_actors::domain::DataType;
use vz_sync_actors::domain::canonical::{RedactionRules, canonical, redacted};

use super::columns::Wrong;

/// Members of an element that belong to its envelope, and the nodes, which are items themselves.
pub(super) const ENVELOPE_AND_NODES: [&str; 9] =
    ["debug", "error", "errOut", "nodes", "out", "reason", "response", "result", "source"];

/// The redaction rules of each kind of element.
pub(super) struct Rules {
    plain: RedactionRules,
    node: RedactionRules,
}

impl Default for Rules {
    fn default() -> Self {
        let plain = RedactionRules::default();
        // In a node `env` is a container's variables; in an element it is the environment.
        Self { node: plain.clone().and_name("env"), plain }
    }
}

impl Rules {
    /// The canonical form of an environment.
    pub(super) fn environment(&self, text: &str) -> Result<Box<str>, Wrong> {
        wrong(canonical(text, &self.plain))
    }

    /// The canonical form of a node.
    pub(super) fn node(&self, text: &str) -> Result<Box<str>, Wrong> {
        wrong(canonical(text, &self.node))
    }

    /// The canonical form of an action.
    pub(super) fn action(&self, text: &str) -> Result<Box<str>, Wrong> {
        wrong(canonical(text, &self.plain))
    }

    /// What may be kept of an element that failed its schema.
    pub(super) fn quarantined(&self, text: &str, data_type: DataType, cap: usize) -> String {
        match data_type {
            DataType::Nodes => redacted(text, &self.node, cap),
            DataType::Environments | DataType::ArchivedSites | DataType::JobLogs => {
                redacted(text, &self.plain, cap)
            }
        }
    }
}

fn wrong<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Wrong> {
    result.map_err(|error| Wrong(error.to_string()))
}
