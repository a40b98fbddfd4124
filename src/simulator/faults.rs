//! Faults on order: which request suffers what. What each fault does to an answer is in
//! [`super::effects`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::world::lock;

/// Which requests suffer a fault. A filter that is absent lets all pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The method, named as in the path: `getenvs`.
    #[serde(default)]
    pub method: Option<String>,
    /// The account whose session is used.
    #[serde(default)]
    pub account: Option<i64>,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub after: u64,
    /// How many requests suffer before the rule is spent.
    #[serde(default)]
    pub times: Option<u64>,
    /// The seeded chance, 0 to 1, that a matching request suffers.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Only pages of a search that start at this row or later.
    #[serde(default)]
    pub from_row: Option<usize>,
    /// What happens.
    pub fault: Fault,
}

impl FaultRule {
    /// A rule for every request.
    pub fn new(fault: Fault) -> Self {
        Self {
            method: None,
            account: None,
            after: 0,
            times: None,
            probability: None,
            from_row: None,
            fault,
        }
    }

    /// Only this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only this account.
    pub fn account(mut self, uid: i64) -> Self {
        self.account = Some(uid);
        self
    }

    /// Only so often.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only from the request after these on.
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }
}

/// A rule and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: FaultRule,
    /// Requests that matched.
    pub matched: u64,
    /// Requests that suffered.
    pub fired: u64,
}

/// The rules in force. Several may fire on one request; they apply in order.
pub struct Faults {
    any: AtomicBool,
    book: Mutex<Book>,
}

struct Book {
    rules: Vec<RuleReport>,
    rng: Xoshiro256PlusPlus,
}

/// What a rule looks at.
pub(crate) struct Target<'a> {
    pub(crate) method: &'a str,
    pub(crate) uid: Option<i64>,
    pub(crate) row: Option<usize>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0xFA17);
        Self { any: AtomicBool::new(false), book: Mutex::new(Book { rules: Vec::new(), rng }) }
    }

    /// Replaces all rules.
    pub fn set(&self, rules: Vec<FaultRule>) {
        self.change(|book| {
            let fresh = |rule| RuleReport { rule, matched: 0, fired: 0 };
            book.rules = rules.into_iter().map(fresh).collect();
        });
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: FaultRule) {
        self.change(|book| book.rules.push(RuleReport { rule, matched: 0, fired: 0 }));
    }

    /// Heals the platform.
    pub fn clear(&self) {
        self.change(|book| book.rules.clear());
    }

    /// The rules and how often each fired.
    pub fn report(&self) -> Vec<RuleReport> {
        lock(&self.book).rules.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = lock(&self.book);
        change(&mut book);
        self.any.store(!book.rules.is_empty(), Ordering::Release);
    }

    /// The faults that a request suffers; asking counts as the request.
    pub(crate) fn firing(&self, target: &Target<'_>) -> Vec<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut book = lock(&self.book);
        let Book { rules, rng } = &mut *book;
        let firing = rules.iter_mut().filter_map(|entry| {
            let rule = &entry.rule;
            let fits = rule.method.as_deref().is_none_or(|method| method == target.method)
                && rule.account.is_none_or(|uid| Some(uid) == target.uid)
                && rule.from_row.is_none_or(|row| target.row.is_some_and(|start| start >= row));
            if !fits {
                return None;
            }
            entry.matched += 1;
            let due =
                entry.matched > rule.after && rule.times.is_none_or(|times| entry.fired < times);
            let chosen =
                rule.probability.is_none_or(|chance| rng.random_bool(chance.clamp(0.0, 1.0)));
            (due && chosen).then(|| {
                entry.fired += 1;
                entry.rule.fault.clone()
            })
        });
        firing.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::HangAt;

    fn target(method: &str) -> Target<'_> {
        Target { method, uid: Some(7), row: None }
    }

    #[test]
    fn a_rule_spares_the_first_and_then_runs_out() {
        let faults = Faults::new(1);
        faults.set(vec![FaultRule::new(Fault::Html).method("getenvs").after(1).times(2)]);
        let fired = (0..5).map(|_| faults.firing(&target("getenvs")).len()).collect::<Vec<_>>();
        assert_eq!(fired, [0, 1, 1, 0, 0]);
        assert!(faults.firing(&target("getenvinfo")).is_empty());
    }

    #[test]
    fn a_rule_for_another_account_does_not_fire() {
        let faults = Faults::new(1);
        faults.add(FaultRule::new(Fault::Html).account(8));
        assert!(faults.firing(&target("getenvs")).is_empty());
        faults.add(FaultRule::new(Fault::Html).account(7));
        assert_eq!(faults.firing(&target("getenvs")), [Fault::Html]);
    }

    #[test]
    fn chance_is_seeded() {
        let run = |seed| {
            let faults = Faults::new(seed);
            let mut rule = FaultRule::new(Fault::Html);
            rule.probability = Some(0.5);
            faults.add(rule);
            (0..64).map(|_| faults.firing(&target("x")).len()).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn rules_read_as_documented() {
        let text = r#"{"method":"getenvs","times":3,"fault":{"kind":"hang","where":"headers"}}"#;
        let rule = serde_json::from_str::<FaultRule>(text).unwrap();
        let expected =
            FaultRule::new(Fault::Hang { at: HangAt::Headers }).method("getenvs").times(3);
        assert_eq!(rule, expected);
    }
}
