//! Methods that a key was refused: not a failure of the key, but something
//! that runs do without (SPEC section 5).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::scope::{UnknownWord, words};

/// A method that a token may be refused, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// The listing that a full reads.
    GetBasicEnvsInfo,
    /// The wider listing; in outline it is what a delta reads.
    GetEnvs,
    /// One environment by name.
    GetEnvInfo,
    /// The action history.
    SearchActions,
    /// What is under way.
    GetCurrentActions,
}

words!(Capability, "getbasicenvsinfo, getenvs, getenvinfo, searchactions, getcurrentactions",
    GetBasicEnvsInfo => "getbasicenvsinfo",
    GetEnvs => "getenvs",
    GetEnvInfo => "getenvinfo",
    SearchActions => "searchactions",
    GetCurrentActions => "getcurrentactions",
);

/// What a scope's key was refused, and when last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refused(BTreeMap<Capability, Moment>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Moment(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl Refused {
    /// The method was refused at `now`, database time.
    pub fn note(&mut self, capability: Capability, now: OffsetDateTime) {
        self.0.insert(capability, Moment(now));
    }

    /// The method answered.
    pub fn clear(&mut self, capability: Capability) {
        self.0.remove(&capability);
    }

    /// When the method was last refused, if it was and has not answered since.
    pub fn at(&self, capability: Capability) -> Option<OffsetDateTime> {
        self.0.get(&capability).map(|moment| moment.0)
    }

    /// Whether it was refused so lately that asking again is not worth a
    /// request. Tokens are changed on the platform, which tells nobody: what
    /// was refused is asked for again once in a while.
    pub fn lately(&self, capability: Capability, now: OffsetDateTime, patience: Duration) -> bool {
        self.at(capability).is_some_and(|at| now < at + patience)
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is missing, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, OffsetDateTime)> {
        self.0.iter().map(|(capability, moment)| (*capability, moment.0))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_was_refused_is_asked_for_again_after_a_while() {
        let mut refused = Refused::default();
        assert!(!refused.lately(Capability::SearchActions, NOW, HOUR));
        refused.note(Capability::SearchActions, NOW);
        assert!(refused.lately(Capability::SearchActions, NOW + HOUR / 2, HOUR));
        assert!(!refused.lately(Capability::SearchActions, NOW + HOUR, HOUR));
        assert!(!refused.lately(Capability::GetEnvs, NOW, HOUR), "each for itself");
        assert_eq!(refused.at(Capability::SearchActions), Some(NOW), "it is still missing");
        refused.clear(Capability::SearchActions);
        assert!(refused.is_empty());
    }

    #[test]
    fn it_is_stored_by_the_methods_names() {
        let mut refused = Refused::default();
        for capability in Capability::ALL {
            refused.note(capability, NOW);
        }
        let stored = serde_json::to_value(&refused).unwrap();
        for (capability, at) in refused.iter() {
            assert_eq!(stored[capability.as_str()], "2026-11-20T12:00:00Z");
            assert_eq!(at, NOW);
        }
        assert_eq!(serde_json::from_value::<Refused>(stored).unwrap(), refused);
        assert_eq!(serde_json::from_str::<Refused>("{}").unwrap(), Refused::default());
    }
}
