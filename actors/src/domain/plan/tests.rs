use proptest::prelude::*;

use super::*;
use crate::domain::baseline::RowFlags;
use crate::domain::ids::Fence;
use crate::domain::sample::*;

fn complete(planner: Planner<'_>) -> Absence {
    planner.finish(Completeness::Complete)
}

fn kinds(planned: &[Planned]) -> Vec<(&str, UpsertKind)> {
    planned.iter().map(|row| (row.item.id.as_str(), row.kind)).collect()
}

fn malformed(data_type: DataType, name: Option<&str>) -> Malformed {
    Malformed { data_type, id: name.map(id), error: "x".to_owned(), raw: String::new() }
}

fn missing() -> RowFlags {
    RowFlags { missing_since: Some(NOW), needs_validation: true, ..RowFlags::default() }
}

#[test]
fn equal_rows_are_not_written() {
    let mirror = mirror(&[("a", &["1", "2"]), ("b", &[])]);
    let mut planner = Planner::new(&mirror, false);
    assert_eq!(planner.accept(listed(element("a", &["1", "2"]))), []);
    assert_eq!(planner.accept(Element::Same(id("b"))), []);
    let absence = complete(planner);
    assert_eq!((absence.environments.len(), absence.nodes.len()), (0, 0));
    assert_eq!((absence.environment_counts.unchanged, absence.node_counts.unchanged), (2, 2));
    assert!(!absence.empty);
}

#[test]
fn new_and_different_rows_are() {
    let mirror = mirror(&[("a", &["1"])]);
    let mut planner = Planner::new(&mirror, false);
    let mut changed = element("a", &["1", "2"]);
    changed.environment = environment_item("a", "2");
    let planned = planner.accept(listed(changed));
    assert_eq!(kinds(&planned), [("a", UpsertKind::Update), ("2", UpsertKind::Insert)]);
    let planned = planner.accept(listed(element("b", &[])));
    assert_eq!(kinds(&planned), [("b", UpsertKind::Insert)]);
    let counts = complete(planner).environment_counts;
    assert_eq!((counts.listed, counts.inserted, counts.updated), (2, 1, 1));
}

#[test]
fn an_equal_row_in_doubt_is_written_to_clear_the_doubt() {
    let flags = [
        (missing(), UpsertKind::Return),
        (RowFlags { stale: true, ..RowFlags::default() }, UpsertKind::Return),
        (RowFlags { needs_validation: true, ..RowFlags::default() }, UpsertKind::Update),
        (RowFlags { quarantined: true, ..RowFlags::default() }, UpsertKind::Update),
        (RowFlags { held: true, ..RowFlags::default() }, UpsertKind::Update),
    ];
    for (flags, kind) in flags {
        let mut mirror = mirror(&[("a", &["1"])]);
        for row in mirror.environments.values_mut().chain(mirror.nodes.values_mut()) {
            row.flags = flags;
        }
        let mut planner = Planner::new(&mirror, false);
        let planned = planner.accept(listed(element("a", &["1"])));
        assert_eq!(kinds(&planned), [("a", kind), ("1", kind)]);
        let counts = planner.counts();
        assert_eq!(counts.updated, 2);
        assert_eq!(counts.returned, if kind == UpsertKind::Return { 2 } else { 0 });
    }
}

#[test]
fn only_a_complete_listing_names_absences() {
    let mirror = mirror(&[("a", &["1", "2"]), ("b", &["3"]), ("c", &["4"])]);
    let run = |completeness| {
        let mut planner = Planner::new(&mirror, false);
        planner.accept(listed(element("a", &["1"])));
        planner.accept(listed(element("c", &[])));
        planner.finish(completeness)
    };
    let absence = run(Completeness::Complete);
    assert_eq!(absence.environments, [id("b")]);
    assert_eq!(absence.seen, [id("a"), id("c")]);
    assert_eq!(absence.populated, [id("a")]);
    let left: Vec<_> =
        absence.nodes.iter().map(|left| (left.environment.as_str(), left.emptied)).collect();
    assert_eq!(left, [("a", false), ("c", true)]);
    assert_eq!(absence.nodes[0].nodes, [id("2")]);
    let absence = run(Completeness::Partial(PartialReason::Truncated));
    assert_eq!((absence.environments.len(), absence.nodes.len()), (0, 0));
    assert_eq!(absence.seen.len(), 2);
}

#[test]
fn an_absent_nodes_key_is_unknown_and_never_empty() {
    let mirror = mirror(&[("a", &["1", "2"])]);
    let mut planner = Planner::new(&mirror, false);
    let mut bare = element("a", &[]);
    bare.nodes = None;
    bare.environment = environment_item("a", "2");
    bare.environment.raw_version = Some(raw("bytes"));
    let planned = planner.accept(listed(bare));
    assert_eq!(planned[0].item.raw_version, None, "recognising it later would vouch for nodes");
    let absence = complete(planner);
    assert_eq!((absence.nodes.len(), absence.populated.len()), (0, 0));
    assert_eq!(absence.unseen_nodes, [id("1"), id("2")], "and they are in doubt");
}

#[test]
fn an_outline_puts_no_node_in_doubt() {
    let mirror = mirror(&[("a", &["1", "2"])]);
    let mut planner = Planner::new(&mirror, false);
    planner.accept_outline(&id("a"), &version("1"), 1);
    assert_eq!(complete(planner).unseen_nodes, []);
}

#[test]
fn what_fails_its_schema_is_seen_and_set_aside() {
    let mirror = mirror(&[("a", &["1", "2"]), ("b", &["3"])]);
    let mut planner = Planner::new(&mirror, false);
    let mut half = element("a", &["1"]);
    half.malformed_nodes.push(malformed(DataType::Nodes, Some("2")));
    planner.accept(listed(half));
    planner.accept(Element::Malformed(malformed(DataType::Environments, Some("b"))));
    let absence = complete(planner);
    assert_eq!((absence.environments.len(), absence.nodes.len()), (0, 0));
    assert_eq!(absence.quarantined.len(), 2);
    assert_eq!(absence.unseen_nodes, [id("3")], "nobody spoke of the nodes of b");
    assert!(absence.completeness.is_complete() && absence.nodes_completeness.is_complete());
}

#[test]
fn a_node_without_identity_makes_no_other_node_missing() {
    let mirror = mirror(&[("a", &["1", "2"]), ("b", &["3"])]);
    let mut planner = Planner::new(&mirror, false);
    let mut half = element("a", &["1"]);
    half.malformed_nodes.push(malformed(DataType::Nodes, None));
    planner.accept(listed(half));
    planner.accept(listed(element("b", &[])));
    let absence = complete(planner);
    assert!(absence.completeness.is_complete() && !absence.nodes_completeness.is_complete());
    assert_eq!(absence.nodes.len(), 1, "only b's own answer says something");
    assert_eq!(absence.nodes[0].environment, id("b"));
}

#[test]
fn an_environment_without_identity_makes_the_listing_partial() {
    let mirror = mirror(&[("a", &[])]);
    let mut planner = Planner::new(&mirror, false);
    planner.accept(Element::Malformed(malformed(DataType::Environments, None)));
    let absence = complete(planner);
    assert_eq!(absence.completeness, Completeness::Partial(PartialReason::UnidentifiedElement));
    assert_eq!(absence.environments, []);
    assert!(!absence.empty);
}

#[test]
fn of_an_element_listed_twice_the_last_wins_and_counts_once() {
    let mirror = mirror(&[("a", &["1"])]);
    let mut planner = Planner::new(&mirror, false);
    let mut other = element("a", &["1"]);
    other.environment = environment_item("a", "2");
    assert_eq!(kinds(&planner.accept(listed(other))), [("a", UpsertKind::Update)]);
    // Equal to what is stored, but the other form is on its way to the table.
    let planned = planner.accept(listed(element("a", &["1"])));
    assert_eq!(kinds(&planned), [("a", UpsertKind::Update)]);
    assert_eq!(planned[0].item.payload.as_ref(), "1");
    let absence = complete(planner);
    assert_eq!(absence.duplicates, 2);
    assert_eq!((absence.environment_counts.listed, absence.environment_counts.updated), (1, 1));
    assert_eq!((absence.node_counts.listed, absence.node_counts.unchanged), (1, 1));
}

#[test]
fn an_outline_asks_for_what_may_have_changed() {
    let mut mirror = mirror(&[("a", &["1"]), ("b", &["2"]), ("c", &[]), ("d", &[]), ("e", &[])]);
    mirror.nodes.get_mut("2").expect("row").flags = missing();
    mirror.environments.get_mut("d").expect("row").flags.stale = true;
    let mut planner = Planner::new(&mirror, false);
    let mut outline =
        |name: &str, form, status| planner.accept_outline(&id(name), &version(form), status);
    assert_eq!(outline("a", "1", 1), OutlineVerdict::Same);
    assert_eq!(outline("b", "1", 1), OutlineVerdict::Differs, "a node is in doubt");
    assert_eq!(outline("c", "1", 2), OutlineVerdict::Differs);
    assert_eq!(outline("c", "2", 1), OutlineVerdict::Differs);
    assert_eq!(outline("d", "1", 1), OutlineVerdict::New);
    assert_eq!(outline("f", "1", 1), OutlineVerdict::New);
    planner.accept(listed(element("c", &[])));
    let absence = complete(planner);
    assert_eq!(absence.environments, [id("e")]);
    assert_eq!((absence.nodes.len(), absence.duplicates), (0, 0));
    assert_eq!(absence.environment_counts.listed, 5);
}

#[test]
fn a_node_that_moved_is_written_and_has_not_left() {
    let mirror = mirror(&[("a", &["1"]), ("b", &[])]);
    let mut planner = Planner::new(&mirror, false);
    planner.accept(listed(element("a", &[])));
    let planned = planner.accept(listed(element("b", &["1"])));
    assert_eq!(kinds(&planned), [("1", UpsertKind::Update)]);
    assert_eq!(complete(planner).nodes, []);
}

#[test]
fn bytes_are_recognised_only_while_they_say_what_the_mirror_says() {
    let with = |change: &dyn Fn(&mut Baseline)| {
        let mut mirror = mirror(&[("a", &["1", "2"])]);
        for row in mirror.environments.values_mut().chain(mirror.nodes.values_mut()) {
            row.raw_version = Some(raw("first"));
        }
        change(&mut mirror);
        let found = mirror.shortcuts();
        ["first", "second"].map(|form| found.get(&raw(form)).is_some())
    };
    assert_eq!(with(&|_| ()), [true, false]);
    let node = |mirror: &mut Baseline, change: &dyn Fn(&mut StoredRow)| {
        change(mirror.nodes.get_mut("1").expect("row"));
    };
    // The node was written later, from the second form: going back to the
    // first form is a change.
    let rewritten = |row: &mut StoredRow| {
        (row.raw_version, row.fence) = (Some(raw("second")), Fence(2));
    };
    assert_eq!(with(&|mirror| node(mirror, &rewritten)), [false, true]);
    let left = |row: &mut StoredRow| (row.flags.stale, row.fence) = (true, Fence(2));
    assert_eq!(with(&|mirror| node(mirror, &left)), [false, false]);
    let doubtful = |row: &mut StoredRow| row.flags = missing();
    assert_eq!(with(&|mirror| node(mirror, &doubtful)), [false, false]);
    let mixed = |row: &mut StoredRow| row.raw_version = Some(raw("second"));
    assert_eq!(with(&|mirror| node(mirror, &mixed)), [false, false]);
    let stale =
        |mirror: &mut Baseline| mirror.environments.get_mut("a").expect("row").flags.stale = true;
    assert_eq!(with(&stale), [false, false]);
}

#[test]
fn nodes_carry_the_raw_version_of_their_element() {
    let mirror = Baseline::default();
    let mut planner = Planner::new(&mirror, true);
    let mut first = element("a", &["1"]);
    first.environment.raw_version = Some(raw("bytes"));
    let planned = planner.accept(listed(first.clone()));
    assert!(planned.iter().all(|row| row.item.raw_version == Some(raw("bytes"))));
    let again = planner.accept(listed(first));
    assert!(again.iter().all(|row| row.item.raw_version.is_none()), "a repeated element");
    assert!(!planner.wants_changes());
}

/// A small world in which everything may happen.
fn form() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["1", "2"])
}

prop_compose! {
    fn world()(
        environments in prop::collection::btree_map(
            0..6_u8,
            (form(), prop::collection::btree_map(0..3_u8, form(), 0..3)),
            0..6,
        ),
    ) -> Vec<EnvironmentElement> {
        environments
            .into_iter()
            .map(|(number, (form, nodes))| {
                let name = format!("e{number}");
                let nodes = nodes
                    .into_iter()
                    .map(|(node, form)| node_item(&name, &format!("{name}n{node}"), form));
                EnvironmentElement {
                    nodes: Some(nodes.collect()),
                    environment: environment_item(&name, form),
                    malformed_nodes: Vec::new(),
                }
            })
            .collect()
    }
}

fn store(baseline: &mut Baseline, planned: Vec<Planned>, fence: i64) {
    for Planned { item, .. } in planned {
        let mut row = row(item.parent().map(ExternalId::as_str), Some(item.id.as_str()));
        row.source_version = item.source_version;
        row.raw_version = item.raw_version;
        row.fence = Fence(fence);
        let table = match item.data_type() {
            DataType::Nodes => &mut baseline.nodes,
            _ => &mut baseline.environments,
        };
        table.insert(item.id, row);
    }
}

/// The element's bytes, hashed.
fn bytes(element: &EnvironmentElement) -> RawVersion {
    raw(&format!("{element:?}"))
}

proptest! {
    /// Whatever the worlds that follow each other, with and without the
    /// shortcut, the mirror equals the last one; and a second look at an
    /// unchanged world writes nothing.
    #[test]
    fn the_mirror_follows_the_world(worlds in prop::collection::vec(world(), 1..6)) {
        let mut mirror = Baseline::default();
        for (run, world) in worlds.iter().enumerate() {
            for repeat in 0..2 {
                let shortcuts = mirror.shortcuts();
                let mut planner = Planner::new(&mirror, run == 0);
                let mut planned = Vec::new();
                for element in world {
                    let raw = bytes(element);
                    planned.extend(planner.accept(if let Some(id) = shortcuts.get(&raw) { Element::Same(id.clone()) } else {
                        let mut element = element.clone();
                        element.environment.raw_version = Some(raw);
                        listed(element)
                    }));
                }
                let absence = complete(planner);
                if repeat == 1 {
                    prop_assert_eq!(&planned, &[]);
                    prop_assert_eq!(&absence.environments, &[]);
                    prop_assert_eq!(&absence.nodes, &[]);
                }
                let fence = Fence((run * 2 + repeat) as i64 + 2);
                store(&mut mirror, planned, fence.0);
                // Every removal is believed at once here: removal has its own tests.
                let gone = absence.environments.iter();
                for id in gone.clone() {
                    let row = mirror.environments.get_mut(id).expect("row");
                    (row.flags.stale, row.fence) = (true, fence);
                }
                let gone: Vec<_> = gone.cloned().collect();
                let left: Vec<_> = absence.nodes.into_iter().flat_map(|left| left.nodes).collect();
                for (id, row) in &mut mirror.nodes {
                    if left.contains(id) || row.parent.as_ref().is_some_and(|id| gone.contains(id)) {
                        (row.flags.stale, row.fence) = (true, fence);
                    }
                }
            }
            let mut expected: Vec<_> = Vec::new();
            for element in world {
                let nodes = element.nodes.iter().flatten();
                let items = std::iter::once(&element.environment).chain(nodes);
                expected.extend(items.map(|item| (item.id.clone(), item.source_version)));
            }
            let mut stored: Vec<_> = mirror.environments.iter().chain(&mirror.nodes)
                .filter(|(_, row)| !row.flags.stale)
                .map(|(id, row)| (id.clone(), row.source_version))
                .collect();
            expected.sort_unstable();
            stored.sort_unstable();
            prop_assert_eq!(stored, expected);
        }
    }
}
