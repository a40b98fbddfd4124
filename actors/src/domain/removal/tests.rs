use std::time::Duration;

use time::OffsetDateTime;

use super::*;
use crate::domain::baseline::{Baseline, HoldState, RowFlags, StoredHold};
use crate::domain::ids::{ExternalId, HoldId};
use crate::domain::item::Element;
use crate::domain::plan::{Absence, Planner};
use crate::domain::sample::*;
use crate::domain::scope::DataType;
use crate::domain::snapshot::{Completeness, PartialReason};

const GAP: Duration = Duration::from_mins(10);
const RULES: fn() -> RemovalRules = RemovalRules::default;

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("e{number:02}")).collect()
}

/// A mirror of so many environments with one node each.
fn team(size: usize) -> Baseline {
    let mut baseline = Baseline::default();
    for name in names(0..size) {
        let node = format!("{name}-node");
        let one = mirror(&[(&name, &[&node])]);
        baseline.environments.extend(one.environments);
        baseline.nodes.extend(one.nodes);
    }
    baseline
}

/// A listing that shows these environments as they are stored.
fn listing(baseline: &Baseline, shown: std::ops::Range<usize>) -> Absence {
    partial(baseline, shown, Completeness::Complete)
}

fn partial(baseline: &Baseline, shown: std::ops::Range<usize>, how: Completeness) -> Absence {
    let mut planner = Planner::new(baseline, false);
    for name in names(shown) {
        planner.accept(Element::Same(id(name)));
    }
    planner.finish(how)
}

fn ask(baseline: &Baseline, absence: &Absence, now: OffsetDateTime) -> Question {
    question(&RULES(), baseline, absence, now)
}

fn all(question: &Question, answer: ProbeAnswer) -> Vec<(ExternalId, ProbeAnswer)> {
    question.probe.iter().map(|probe| (probe.id.clone(), answer)).collect()
}

fn mark_missing(baseline: &mut Baseline, range: std::ops::Range<usize>, since: OffsetDateTime) {
    for name in names(range) {
        let row = baseline.environments.get_mut(name.as_str()).expect("row");
        row.flags.missing_since = Some(since);
        row.flags.needs_validation = true;
    }
}

fn hold(state: HoldState, items: std::ops::Range<usize>, agreeing: u32) -> StoredHold {
    StoredHold {
        id: HoldId(7),
        data_type: DataType::Environments,
        state,
        items: names(items).into_iter().map(id).collect(),
        agreeing_listings: agreeing,
        created_at: NOW,
        counted_at: NOW,
        decided_at: (state != HoldState::Held).then_some(NOW),
    }
}

#[test]
fn a_single_deletion_shows_in_the_run_that_misses_it() {
    let mirror = team(3);
    let absence = listing(&mirror, 0..2);
    let question = ask(&mirror, &absence, NOW);
    assert!(question.needs_account_check());
    assert_eq!(question.probe, [Probe { id: id("e02"), env_name: "e02".to_owned() }]);
    let decision = decide(&question, &all(&question, ProbeAnswer::Gone));
    assert_eq!(decision.stale, [(id("e02"), StaleReason::Deleted)]);
    assert_eq!((decision.missing.len(), decision.holds.len()), (0, 0));
    let nodes = nodes(&RULES(), &mirror, &absence, &decision, NOW);
    assert_eq!(nodes.stale, [(id("e02-node"), StaleReason::EnvironmentGone)]);
    assert_eq!((decision.counts().stale, nodes.counts().stale), (1, 1));
}

#[test]
fn without_an_answer_a_row_is_missing_and_a_second_listing_far_enough_away_confirms() {
    let mut mirror = team(3);
    let run = |mirror: &Baseline, now| {
        let question = ask(mirror, &listing(mirror, 0..2), now);
        decide(&question, &all(&question, ProbeAnswer::Unknown))
    };
    let first = run(&mirror, NOW);
    assert_eq!(first.missing, [(id("e02"), MissingReason::AbsentOnce)]);
    assert_eq!(first.stale, []);
    mark_missing(&mut mirror, 2..3, NOW);
    let soon = run(&mirror, NOW + GAP - Duration::from_nanos(1));
    assert_eq!(soon, Decision::default(), "a burst of refreshes is one opinion");
    let second = run(&mirror, NOW + GAP);
    assert_eq!(second.stale, [(id("e02"), StaleReason::MissedTwice)]);
}

#[test]
fn somebody_elses_environment_is_archived_as_transferred() {
    let mirror = team(2);
    let question = ask(&mirror, &listing(&mirror, 0..1), NOW);
    let decision = decide(&question, &all(&question, ProbeAnswer::Transferred));
    assert_eq!(decision.stale, [(id("e01"), StaleReason::Transferred)]);
}

#[test]
fn a_probe_that_finds_one_row_discredits_the_listing() {
    let mut mirror = team(10);
    mark_missing(&mut mirror, 8..10, NOW - GAP * 10);
    let absence = listing(&mirror, 0..8);
    let question = ask(&mirror, &absence, NOW);
    let answers = [(id("e08"), ProbeAnswer::Gone), (id("e09"), ProbeAnswer::StillOwn)];
    let decision = decide(&question, &answers);
    assert!(decision.contradicted);
    assert_eq!((decision.stale.len(), decision.missing.len(), decision.holds.len()), (0, 0, 0));
    assert_eq!(
        decision.completeness(Completeness::Complete),
        Completeness::Partial(PartialReason::ContradictedByProbe)
    );
    let nodes = nodes(&RULES(), &mirror, &absence, &decision, NOW);
    assert_eq!(nodes, NodesDecision::default());
}

#[test]
fn a_partial_listing_asks_and_decides_nothing() {
    let mut mirror = team(10);
    mark_missing(&mut mirror, 0..10, NOW - GAP * 10);
    mirror.holds.push(hold(HoldState::Released, 5..10, 9));
    let how = Completeness::Partial(PartialReason::Truncated);
    let absence = partial(&mirror, 0..1, how);
    let question = ask(&mirror, &absence, NOW);
    assert!(!question.needs_account_check() && question.probe.is_empty());
    let decision = decide(&question, &[(id("e05"), ProbeAnswer::Gone)]);
    assert_eq!(decision, Decision::default());
}

#[test]
fn too_large_a_share_is_held_as_a_set() {
    let mirror = team(100);
    let question = ask(&mirror, &listing(&mirror, 0..70), NOW);
    assert_eq!(decide(&question, &[]).holds, [], "30 % is not more than 30 %");
    let question = ask(&mirror, &listing(&mirror, 0..69), NOW);
    assert_eq!(question.probe.len(), 20);
    let decision = decide(&question, &all(&question, ProbeAnswer::Gone));
    assert_eq!(decision.stale, [], "a held set goes as a set or not at all");
    assert_eq!(decision.missing.len(), 31);
    assert_eq!(decision.counts().held, 31);
    let [HoldChange::Open { items, of, reason, data_type }] = decision.holds.as_slice() else {
        panic!("{:?}", decision.holds);
    };
    assert_eq!((items.len(), *of, reason.as_str()), (31, 100, OVER_PERCENTAGE));
    assert_eq!(*data_type, DataType::Environments);
}

#[test]
fn fewer_than_five_are_no_mass_loss() {
    let mirror = team(5);
    let question = ask(&mirror, &listing(&mirror, 0..1), NOW);
    let decision = decide(&question, &[]);
    assert_eq!((decision.missing.len(), decision.holds.len()), (4, 0));
}

#[test]
fn a_small_team_can_lose_its_last_environments() {
    for size in [1, 5, 20] {
        let mirror = team(size);
        let question = ask(&mirror, &listing(&mirror, 0..0), NOW);
        assert_eq!(question.probe.len(), size);
        let decision = decide(&question, &all(&question, ProbeAnswer::Gone));
        assert_eq!(decision.stale.len(), size);
        assert_eq!((decision.missing.len(), decision.holds.len()), (0, 0));
        // One row without an answer, and the whole set is held.
        let mut answers = all(&question, ProbeAnswer::Gone);
        answers[0].1 = ProbeAnswer::Unknown;
        let decision = decide(&question, &answers);
        assert_eq!((decision.stale.len(), decision.missing.len()), (0, size));
        assert!(
            matches!(&decision.holds[..], [HoldChange::Open { reason, .. }] if reason == EMPTY_LISTING)
        );
    }
    let mirror = team(21);
    let question = ask(&mirror, &listing(&mirror, 0..0), NOW);
    let decision = decide(&question, &all(&question, ProbeAnswer::Gone));
    assert_eq!((decision.stale.len(), decision.holds.len()), (0, 1));
}

#[test]
fn a_small_empty_teams_hold_is_released_by_answers() {
    let mut mirror = team(6);
    mark_missing(&mut mirror, 0..6, NOW);
    mirror.holds.push(hold(HoldState::Held, 0..6, 0));
    let question = ask(&mirror, &listing(&mirror, 0..0), NOW);
    let decision = decide(&question, &all(&question, ProbeAnswer::Gone));
    assert_eq!(decision.stale.len(), 6);
    assert_eq!(decision.holds, [HoldChange::Release { id: HoldId(7) }]);
}

#[test]
fn two_later_listings_release_a_hold() {
    let mut mirror = team(100);
    mark_missing(&mut mirror, 50..100, NOW);
    let run =
        |mirror: &Baseline, shown, now| decide(&ask(mirror, &listing(mirror, shown), now), &[]);
    mirror.holds.push(hold(HoldState::Held, 50..100, 0));
    assert_eq!(run(&mirror, 0..50, NOW), Decision::default(), "the same minute");
    let first = run(&mirror, 0..50, NOW + GAP);
    assert_eq!(first.holds, [HoldChange::Agree { id: HoldId(7) }]);
    assert_eq!((first.stale.len(), first.missing.len()), (0, 0));
    (mirror.holds[0].agreeing_listings, mirror.holds[0].counted_at) = (1, NOW + GAP);
    assert_eq!(run(&mirror, 0..50, NOW + GAP), Decision::default(), "still one opinion");
    let second = run(&mirror, 0..50, NOW + GAP * 2);
    assert_eq!(second.holds, [HoldChange::Release { id: HoldId(7) }]);
    assert_eq!(second.stale.len(), 50);
    assert!(second.stale.iter().all(|(_, reason)| *reason == StaleReason::HoldReleased));
    // However late the first one came: two in a burst are one opinion.
    mirror.holds[0].counted_at = NOW + GAP * 9;
    let soon = NOW + GAP * 10 - Duration::from_nanos(1);
    assert_eq!(run(&mirror, 0..50, soon), Decision::default(), "one bad minute");
    mirror.holds[0].counted_at = NOW + GAP;
    // A row that comes back leaves the hold, and its listing agrees to nothing.
    let returned = run(&mirror, 0..51, NOW + GAP * 2);
    let back = vec![id("e50")];
    assert_eq!(returned.holds, [HoldChange::Shrink { id: HoldId(7), returned: back }]);
    assert_eq!(returned.stale, []);
    let returned = run(&mirror, 0..100, NOW + GAP * 2);
    assert_eq!(returned.holds, [HoldChange::Expire { id: HoldId(7) }]);
}

#[test]
fn people_release_a_hold_in_the_next_complete_run() {
    let mut mirror = team(100);
    mark_missing(&mut mirror, 50..100, NOW);
    mirror.holds.push(hold(HoldState::Released, 50..100, 0));
    let decision = decide(&ask(&mirror, &listing(&mirror, 0..60), NOW), &[]);
    assert_eq!(decision.stale.len(), 40, "what came back meanwhile stays");
    assert!(
        matches!(&decision.holds[..], [HoldChange::Shrink { returned, .. }] if returned.len() == 10)
    );
}

#[test]
fn a_rejected_hold_keeps_its_rows_for_a_week() {
    let mut mirror = team(100);
    mark_missing(&mut mirror, 50..100, NOW);
    mirror.holds.push(hold(HoldState::Rejected, 50..100, 0));
    let week = RULES().rejected_for;
    let late = NOW + week - Duration::from_nanos(1);
    let question = ask(&mirror, &listing(&mirror, 0..50), late);
    assert_eq!(decide(&question, &all(&question, ProbeAnswer::Gone)), Decision::default());
    let decision = decide(&ask(&mirror, &listing(&mirror, 0..50), NOW + week), &[]);
    assert!(matches!(&decision.holds[..], [HoldChange::Open { items, .. }] if items.len() == 50));
    assert_eq!(decision.stale, []);
}

#[test]
fn while_a_set_is_in_doubt_other_rows_go_by_their_own_answer_only() {
    let mut mirror = team(100);
    mark_missing(&mut mirror, 48..100, NOW);
    mirror.holds.push(hold(HoldState::Held, 50..100, 0));
    let question = ask(&mirror, &listing(&mirror, 0..48), NOW + GAP);
    assert_eq!(question.probe.len(), 2);
    let decision = decide(&question, &[(id("e48"), ProbeAnswer::Gone)]);
    assert_eq!(decision.stale, [(id("e48"), StaleReason::Deleted)]);
}

fn nodes_after(mirror: &Baseline, emptied: std::ops::Range<usize>, size: usize) -> NodesDecision {
    let mut planner = Planner::new(mirror, false);
    for (number, name) in names(0..size).into_iter().enumerate() {
        let node = format!("{name}-node");
        let nodes: &[&str] = if emptied.contains(&number) { &[] } else { &[&node] };
        planner.accept(listed(element(&name, nodes)));
    }
    let absence = planner.finish(Completeness::Complete);
    let decision = decide(&ask(mirror, &absence, NOW + GAP * 9), &[]);
    nodes(&RULES(), mirror, &absence, &decision, NOW + GAP * 9)
}

#[test]
fn a_node_is_gone_when_its_environment_says_so() {
    let decision = nodes_after(&team(10), 0..3, 10);
    assert_eq!(decision.stale.len(), 3);
    assert!(decision.stale.iter().all(|(_, reason)| *reason == StaleReason::LeftEnvironment));
    assert_eq!(decision.holds, []);
}

#[test]
fn the_account_is_checked_when_anything_is_absent() {
    let mirror = team(2);
    assert!(!ask(&mirror, &listing(&mirror, 0..2), NOW).needs_account_check());
    let mut planner = Planner::new(&mirror, false);
    planner.accept(listed(element("e00", &[])));
    planner.accept(listed(element("e01", &["e01-node"])));
    let absence = planner.finish(Completeness::Complete);
    assert!(ask(&mirror, &absence, NOW).needs_account_check(), "a node is missing");
}

#[test]
fn autoscaling_is_no_accident() {
    // Nine of ten nodes of every environment go: no environment is empty.
    let mut mirror = Baseline::default();
    let mut planned = Vec::new();
    for name in names(0..10) {
        let nodes: Vec<String> = (0..10).map(|node| format!("{name}-{node}")).collect();
        let all: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let one = super::super::sample::mirror(&[(&name, &all)]);
        mirror.environments.extend(one.environments);
        mirror.nodes.extend(one.nodes);
        planned.push(listed(element(&name, &all[..1])));
    }
    let mut planner = Planner::new(&mirror, false);
    for element in planned {
        planner.accept(element);
    }
    let absence = planner.finish(Completeness::Complete);
    let decision = nodes(&RULES(), &mirror, &absence, &Decision::default(), NOW);
    assert_eq!((decision.stale.len(), decision.holds.len()), (90, 0));
}

#[test]
fn many_emptied_environments_are_held() {
    let decision = nodes_after(&team(10), 0..5, 10);
    assert_eq!(decision.stale, []);
    assert_eq!(decision.missing.len(), 5);
    let [HoldChange::Open { data_type, items, of, reason }] = decision.holds.as_slice() else {
        panic!("{:?}", decision.holds);
    };
    assert_eq!((*data_type, items.len(), *of), (DataType::Nodes, 5, 10));
    assert_eq!(reason, OVER_PERCENTAGE);
    assert_eq!(items[0], id("e00"), "the set names environments");
    let decision = nodes_after(&team(3), 0..3, 3);
    assert!(
        matches!(&decision.holds[..], [HoldChange::Open { reason, .. }] if reason == EMPTY_LISTING)
    );
}

#[test]
fn a_hold_on_nodes_moves_like_the_others() {
    let mut mirror = team(10);
    mirror.holds.push(StoredHold { data_type: DataType::Nodes, ..hold(HoldState::Held, 0..5, 1) });
    let decision = nodes_after(&mirror, 0..5, 10);
    assert_eq!(decision.holds, [HoldChange::Release { id: HoldId(7) }]);
    assert_eq!(decision.stale.len(), 5);
    mirror.holds[0].agreeing_listings = 0;
    let decision = nodes_after(&mirror, 0..5, 10);
    assert_eq!(decision.holds, [HoldChange::Agree { id: HoldId(7) }]);
    let decision = nodes_after(&mirror, 1..5, 10);
    let back = vec![id("e00")];
    assert_eq!(decision.holds, [HoldChange::Shrink { id: HoldId(7), returned: back }]);
    let decision = nodes_after(&mirror, 0..0, 10);
    assert_eq!(decision.holds, [HoldChange::Expire { id: HoldId(7) }]);
    mirror.holds[0].state = HoldState::Rejected;
    mirror.holds[0].decided_at = Some(NOW);
    assert_eq!(nodes_after(&mirror, 0..5, 10), NodesDecision::default());
}

#[test]
fn what_an_earlier_run_left_behind_goes_too() {
    let mut mirror = team(2);
    mirror.environments.get_mut("e01").expect("row").flags =
        RowFlags { stale: true, ..RowFlags::default() };
    let absence = listing(&mirror, 0..1);
    assert_eq!(absence.environments, []);
    let decision = nodes(&RULES(), &mirror, &absence, &Decision::default(), NOW);
    assert_eq!(decision.stale, [(id("e01-node"), StaleReason::EnvironmentGone)]);
}
