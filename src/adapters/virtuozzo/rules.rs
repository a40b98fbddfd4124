//! What never leaves the adapter, by kind of element. The canonical form and the names of secrets
//! are the domain's; here stand only the names that depend on where they stand.

use vz_sync_actors::domain::DataType;
use vz_sync_actors::domain::canonical::{Canonicaliser, RedactionRules, redacted};

use super::columns::Wrong;

/// Members of an element that belong to its envelope, and the nodes, which are items themselves.
pub(super) const ENVELOPE_AND_NODES: [&str; 9] =
    ["debug", "error", "errOut", "nodes", "out", "reason", "response", "result", "source"];

/// Writes canonical forms by the rules of each kind of element. One per answer: it remembers the
/// names it met.
pub(super) struct Rules {
    plain: Canonicaliser,
    node: Canonicaliser,
}

impl Default for Rules {
    fn default() -> Self {
        Self { plain: Canonicaliser::new(plain()), node: Canonicaliser::new(node()) }
    }
}

fn plain() -> RedactionRules {
    RedactionRules::default()
}

/// In a node `env` is a container's variables; in an element it is the environment.
fn node() -> RedactionRules {
    RedactionRules::default().and_name("env")
}

impl Rules {
    /// The canonical form of an environment or an action.
    pub(super) fn plain(&mut self, text: &str) -> Result<Box<str>, Wrong> {
        wrong(self.plain.write(text))
    }

    /// The canonical form of a node.
    pub(super) fn node(&mut self, text: &str) -> Result<Box<str>, Wrong> {
        wrong(self.node.write(text))
    }
}

/// What may be kept of an element that failed its schema.
pub(super) fn quarantined(text: &str, data_type: DataType, cap: usize) -> String {
    match data_type {
        DataType::Nodes => redacted(text, &node(), cap),
        DataType::Environments | DataType::ArchivedSites | DataType::JobLogs => {
            redacted(text, &plain(), cap)
        }
    }
}

fn wrong<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Wrong> {
    result.map_err(|error| Wrong(error.to_string()))
}
