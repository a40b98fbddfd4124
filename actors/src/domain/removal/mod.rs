//! When absence may remove a row (SPEC section 4).
//!
//! The bug that every system of this kind has shipped is a deletion over a
//! hiccup. So absence goes through grades: present, missing once, confirmed by
//! a probe or by a second complete listing, stale. Past the guard the whole
//! set is held for a decision instead.
//!
//! A run asks in three steps, each a pure function: [`question`] says what
//! must be asked one by one, [`decide`] judges environments by the answers,
//! [`nodes`] judges nodes by what became of their environments.

mod decide;
#[cfg(test)]
mod model;
mod nodes;
#[cfg(test)]
mod properties;
mod question;
mod rules;
#[cfg(test)]
mod tests;

pub use decide::{Decision, decide};
pub use nodes::{NodesDecision, nodes};
pub use question::{Probe, Question, question};
pub use rules::{HoldChange, MissingReason, ProbeAnswer, RemovalRules, StaleReason};

/// The guard that stopped a set: nothing was listed where rows exist.
pub const EMPTY_LISTING: &str = "empty_listing";
/// The guard that stopped a set: too large a share of the rows is gone.
pub const OVER_PERCENTAGE: &str = "over_percentage";
