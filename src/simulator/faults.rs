//! Faults on order: which request suffers what. What each fault does to an answer is in
//! [`super::effects`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

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
    /// Only from so many milliseconds after the order on.
    #[serde(default)]
    pub from_ms: Option<u64>,
    /// Only until so many milliseconds after the order.
    #[serde(default)]
    pub until_ms: Option<u64>,
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
            from_ms: None,
            until_ms: None,
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

    /// Only pages of a search that start at this row or later.
    pub fn from_row(mut self, row: usize) -> Self {
        self.from_row = Some(row);
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
    /// When it was ordered.
    #[serde(skip)]
    since: Instant,
}

impl RuleReport {
    fn fresh(rule: FaultRule) -> Self {
        Self { rule, matched: 0, fired: 0, since: Instant::now() }
    }

    /// Whether a request suffers; asking counts as the request.
    fn strikes(&mut self, target: &Target<'_>, rng: &mut Xoshiro256PlusPlus) -> bool {
        let rule = &self.rule;
        let age = self.since.elapsed();
        let fits = rule.method.as_deref().is_none_or(|method| method == target.method)
            && rule.account.is_none_or(|uid| Some(uid) == target.uid)
            && rule.from_row.is_none_or(|row| target.row.is_some_and(|start| start >= row))
            && rule.from_ms.is_none_or(|ms| age >= Duration::from_millis(ms))
            && rule.until_ms.is_none_or(|ms| age < Duration::from_millis(ms));
        if !fits {
            return false;
        }
        self.matched += 1;
        let due = self.matched > rule.after && rule.times.is_none_or(|times| self.fired < times);
        let chosen = rule.probability.is_none_or(|chance| rng.random_bool(chance.clamp(0.0, 1.0)));
        self.fired += u64::from(due && chosen);
        due && chosen
    }
}

/// The rules in force. Several may fire on one request; they apply in order.
pub struct Faults {
    any: AtomicBool,
    book: Mutex<Book>,
}

struct Book {
    rules: Vec<RuleReport>,
    /// The one of a schedule, which orders by hand leave alone.
    scheduled: Option<RuleReport>,
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
        let book = Book { rules: Vec::new(), scheduled: None, rng };
        Self { any: AtomicBool::new(false), book: Mutex::new(book) }
    }

    /// Replaces all rules.
    pub fn set(&self, rules: Vec<FaultRule>) {
        self.change(|book| book.rules = rules.into_iter().map(RuleReport::fresh).collect());
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: FaultRule) {
        self.change(|book| book.rules.push(RuleReport::fresh(rule)));
    }

    /// Heals the platform, as far as orders by hand made it ill.
    pub fn clear(&self) {
        self.change(|book| book.rules.clear());
    }

    /// The rule of a schedule, in place of its last.
    pub(crate) fn schedule(&self, rule: Option<FaultRule>) {
        self.change(|book| book.scheduled = rule.map(RuleReport::fresh));
    }

    /// The rules and how often each fired.
    pub fn report(&self) -> Vec<RuleReport> {
        lock(&self.book).rules.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = lock(&self.book);
        change(&mut book);
        let any = !book.rules.is_empty() || book.scheduled.is_some();
        self.any.store(any, Ordering::Release);
    }

    /// The faults that a request suffers; asking counts as the request.
    pub(crate) fn firing(&self, target: &Target<'_>) -> Vec<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut book = lock(&self.book);
        let Book { rules, scheduled, rng } = &mut *book;
        let rules = rules.iter_mut().chain(scheduled);
        rules
            .filter_map(|entry| entry.strikes(target, rng).then(|| entry.rule.fault.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::HangAt;

    fn target(method: &str) -> Target<'_> {
        Target { method, uid: Some(7), row: None }
    }

    fn html() -> FaultRule {
        FaultRule::new(Fault::Html)
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

    #[tokio::test(start_paused = true)]
    async fn a_window_opens_and_closes() {
        let faults = Faults::new(1);
        let window = FaultRule { from_ms: Some(100), until_ms: Some(300), ..html() };
        faults.set(vec![window]);
        let mut fired = Vec::new();
        for _ in 0..4 {
            fired.push(faults.firing(&target("x")).len());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(fired, [0, 1, 1, 0]);
    }

    #[test]
    fn orders_by_hand_leave_the_schedule_alone() {
        let faults = Faults::new(1);
        faults.schedule(Some(html()));
        faults.set(Vec::new());
        faults.clear();
        assert_eq!(faults.firing(&target("x")), [Fault::Html]);
        faults.schedule(None);
        assert!(faults.firing(&target("x")).is_empty());
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
