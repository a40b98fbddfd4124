//! Compares a listing with the mirror, element by element as it arrives.
//!
//! The planner owns what was seen and what must be written. It draws no
//! conclusion from absence: [`Planner::finish`] only names what a complete
//! listing did not show, and [`removal`](super::removal) decides about it.

use std::collections::HashMap;

use super::baseline::{Baseline, StoredRow};
use super::ids::ExternalId;
use super::item::{Element, EnvironmentElement, Item, Malformed};
use super::job::Counts;
use super::scope::DataType;
use super::snapshot::{Completeness, PartialReason};
use super::{RawVersion, SourceVersion};

/// What an upsert does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpsertKind {
    /// The row is new.
    Insert,
    /// The row differs.
    Update,
    /// The row was missing or stale and is back; flags are cleared.
    Return,
}

/// A row to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The row.
    pub item: Item,
    /// What writing it does to the table.
    pub kind: UpsertKind,
}

/// What an outline says about the stored environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutlineVerdict {
    /// Not in the mirror, or confirmed gone before: fetch it.
    New,
    /// Looks different, or its row or a node's is in doubt: fetch it.
    Differs,
    /// Looks as stored.
    Same,
}

/// What became of one listed row so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Outlined,
    Unchanged,
    Written(UpsertKind),
    Quarantined,
}

/// What is known of the nodes of an environment that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodesSeen {
    /// The answer had no `nodes`, or one of them could not be identified.
    Unknown,
    /// The answer listed this many.
    Listed(usize),
}

/// An environment that was seen.
#[derive(Debug, Clone, Copy)]
struct SeenEnvironment {
    outcome: Outcome,
    nodes: NodesSeen,
}

/// Plans one run's writes.
#[derive(Debug)]
pub struct Planner<'b> {
    baseline: &'b Baseline,
    first_load: bool,
    children: HashMap<&'b ExternalId, Vec<&'b ExternalId>>,
    environments: HashMap<ExternalId, SeenEnvironment>,
    nodes: HashMap<ExternalId, Outcome>,
    environment_counts: Counts,
    node_counts: Counts,
    quarantined: Vec<Malformed>,
    doubt: Completeness,
    nodes_doubt: Completeness,
    duplicates: u64,
}

/// What a listing did not show, and what the planner counted on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Absence {
    /// The listing's own completeness and the planner's doubts together.
    pub completeness: Completeness,
    /// The same for nodes: also partial when a node could not be identified.
    pub nodes_completeness: Completeness,
    /// Whether the listing showed no environment at all.
    pub empty: bool,
    /// Live environments that a complete listing lacks, by id. Empty when the
    /// listing is partial.
    pub environments: Vec<ExternalId>,
    /// Environments that were seen, new ones too, whatever their form, by id.
    pub seen: Vec<ExternalId>,
    /// Environments whose own answer lacks live nodes of the mirror, by id.
    /// Empty when the listing is partial.
    pub nodes: Vec<NodesLeft>,
    /// Environments whose own answer lists at least one node, by id.
    pub populated: Vec<ExternalId>,
    /// Live nodes of the mirror whose environment was read and did not speak
    /// of them, by id: it had no list of nodes, or none that could be read.
    pub unseen_nodes: Vec<ExternalId>,
    /// What failed its schema.
    pub quarantined: Vec<Malformed>,
    /// Counts of the environments table.
    pub environment_counts: Counts,
    /// Counts of the nodes table.
    pub node_counts: Counts,
    /// Elements and nodes that were listed more than once; the last one won.
    pub duplicates: u64,
}

/// Nodes that their environment's own answer no longer lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodesLeft {
    /// The environment that answered.
    pub environment: ExternalId,
    /// The nodes that left, by id.
    pub nodes: Vec<ExternalId>,
    /// Whether the answer lists no node at all.
    pub emptied: bool,
}

impl<'b> Planner<'b> {
    /// Starts a plan against what the mirror holds.
    pub fn new(baseline: &'b Baseline, first_load: bool) -> Self {
        let mut children: HashMap<&ExternalId, Vec<&ExternalId>> = HashMap::new();
        for (id, row) in &baseline.nodes {
            if let (Some(parent), false) = (&row.parent, row.flags.stale) {
                children.entry(parent).or_default().push(id);
            }
        }
        Self {
            baseline,
            first_load,
            children,
            environments: HashMap::with_capacity(baseline.environments.len()),
            nodes: HashMap::with_capacity(baseline.nodes.len()),
            environment_counts: Counts::default(),
            node_counts: Counts::default(),
            quarantined: Vec::new(),
            doubt: Completeness::Complete,
            nodes_doubt: Completeness::Complete,
            duplicates: 0,
        }
    }

    /// Whether changes are worth a change row: a first load writes none.
    pub const fn wants_changes(&self) -> bool {
        !self.first_load
    }

    /// Environments and nodes seen so far, for progress.
    pub fn seen(&self) -> u64 {
        (self.environments.len() + self.nodes.len()) as u64
    }

    /// Counts so far, of both tables.
    pub fn counts(&self) -> Counts {
        let mut sum = self.environment_counts;
        sum += self.node_counts;
        sum
    }

    /// Takes one element and answers the rows to write. The rows of one id may
    /// be answered again when a listing repeats it: the last answer wins.
    pub fn accept(&mut self, element: Element) -> Vec<Planned> {
        let mut planned = Vec::new();
        match element {
            Element::Same(id) => self.accept_same(&id),
            Element::Environment(element) => self.accept_environment(*element, &mut planned),
            Element::Shared { .. } => {
                self.environment_counts.listed += 1;
                self.environment_counts.shared += 1;
            }
            Element::Malformed(malformed) => self.accept_malformed(malformed, None),
        }
        planned
    }

    /// Takes one environment of a lazy listing: it is there, and nothing is
    /// said about its nodes. A later [`Planner::accept`] of the same
    /// environment replaces what the outline said.
    pub fn accept_outline(
        &mut self,
        id: &ExternalId,
        version: &SourceVersion,
        status: i32,
    ) -> OutlineVerdict {
        if !self.environments.contains_key(id) {
            self.environment_counts.listed += 1;
            self.environment_counts.unchanged += 1;
            let seen = SeenEnvironment { outcome: Outcome::Outlined, nodes: NodesSeen::Unknown };
            self.environments.insert(id.clone(), seen);
        }
        let Some(row) = self.baseline.environments.get(id) else { return OutlineVerdict::New };
        if row.flags.stale {
            return OutlineVerdict::New;
        }
        let in_doubt = row.flags.any()
            || self.children.get(id).is_some_and(|nodes| {
                nodes.iter().any(|node| self.baseline.nodes[*node].flags.unsettled())
            });
        if in_doubt || row.outline_version.as_ref() != Some(version) || row.status != Some(status) {
            OutlineVerdict::Differs
        } else {
            OutlineVerdict::Same
        }
    }

    fn accept_same(&mut self, id: &ExternalId) {
        let listed = self.children.get(id).map_or(0, Vec::len);
        self.see_environment(id, Outcome::Unchanged, NodesSeen::Listed(listed));
        for node in self.children.get(id).cloned().unwrap_or_default() {
            self.see_node(node, Outcome::Unchanged);
        }
    }

    fn accept_environment(&mut self, element: EnvironmentElement, planned: &mut Vec<Planned>) {
        let EnvironmentElement { mut environment, nodes, malformed_nodes } = element;
        let id = environment.id.clone();
        let repeated =
            self.environments.get(&id).is_some_and(|seen| seen.outcome != Outcome::Outlined);
        let whole = nodes.is_some() && malformed_nodes.is_empty() && !repeated;
        // Recognising these bytes later must mean that all of it was stored.
        let raw = if whole { environment.raw_version } else { None };
        environment.raw_version = raw;

        let unidentified = malformed_nodes.iter().any(|node| node.id.is_none());
        let seen = match &nodes {
            Some(nodes) if !unidentified => NodesSeen::Listed(nodes.len() + malformed_nodes.len()),
            _ => NodesSeen::Unknown,
        };
        let stored = self.baseline.environments.get(&id);
        let before = self.environments.get(&id).map(|seen| seen.outcome);
        let outcome = outcome(stored, &environment, before);
        self.see_environment(&id, outcome, seen);
        if let Outcome::Written(kind) = outcome {
            planned.push(Planned { item: environment, kind });
        }
        for node in nodes.unwrap_or_default() {
            self.accept_node(node, raw, planned);
        }
        for malformed in malformed_nodes {
            self.accept_malformed(malformed, Some(&id));
        }
    }

    fn accept_node(&mut self, mut node: Item, raw: Option<RawVersion>, planned: &mut Vec<Planned>) {
        node.raw_version = raw;
        let stored = self.baseline.nodes.get(&node.id);
        let outcome = outcome(stored, &node, self.nodes.get(&node.id).copied());
        self.see_node(&node.id, outcome);
        if let Outcome::Written(kind) = outcome {
            planned.push(Planned { item: node, kind });
        }
    }

    fn accept_malformed(&mut self, malformed: Malformed, parent: Option<&ExternalId>) {
        let is_node = parent.is_some() || malformed.data_type == DataType::Nodes;
        match (&malformed.id, is_node) {
            (Some(id), true) => self.see_node(id, Outcome::Quarantined),
            (Some(id), false) => {
                self.see_environment(id, Outcome::Quarantined, NodesSeen::Unknown);
            }
            (None, true) => {
                self.node_counts.listed += 1;
                self.node_counts.quarantined += 1;
                self.nodes_doubt = Completeness::Partial(PartialReason::UnidentifiedElement);
                match parent.and_then(|id| self.environments.get_mut(id)) {
                    Some(seen) => seen.nodes = NodesSeen::Unknown,
                    None => self.doubt = Completeness::Partial(PartialReason::UnidentifiedElement),
                }
            }
            (None, false) => {
                self.environment_counts.listed += 1;
                self.environment_counts.quarantined += 1;
                self.doubt = Completeness::Partial(PartialReason::UnidentifiedElement);
            }
        }
        self.quarantined.push(malformed);
    }

    fn see_environment(&mut self, id: &ExternalId, outcome: Outcome, nodes: NodesSeen) {
        let seen = SeenEnvironment { outcome, nodes };
        let before = self.environments.insert(id.clone(), seen).map(|seen| seen.outcome);
        self.duplicates += u64::from(before.is_some_and(|outcome| outcome != Outcome::Outlined));
        recount(&mut self.environment_counts, before, outcome);
    }

    fn see_node(&mut self, id: &ExternalId, outcome: Outcome) {
        let before = self.nodes.insert(id.clone(), outcome);
        self.duplicates += u64::from(before.is_some());
        recount(&mut self.node_counts, before, outcome);
    }

    /// Ends the plan with the listing's own word on its completeness.
    pub fn finish(self, listing: Completeness) -> Absence {
        let completeness = listing.and(self.doubt.clone());
        let nodes_completeness = completeness.clone().and(self.nodes_doubt.clone());
        let mut absence = Absence {
            empty: self.environments.is_empty() && self.environment_counts.quarantined == 0,
            environments: Vec::new(),
            seen: Vec::new(),
            nodes: Vec::new(),
            populated: Vec::new(),
            unseen_nodes: Vec::new(),
            quarantined: self.quarantined,
            environment_counts: self.environment_counts,
            node_counts: self.node_counts,
            duplicates: self.duplicates,
            completeness,
            nodes_completeness,
        };
        let complete = absence.completeness.is_complete();
        for (id, row) in &self.baseline.environments {
            if complete && !row.flags.stale && !self.environments.contains_key(id) {
                absence.environments.push(id.clone());
            }
        }
        for (id, seen) in &self.environments {
            absence.seen.push(id.clone());
            let stored = self.children.get(id).map_or(&[][..], Vec::as_slice);
            let left = stored.iter().filter(|node| !self.nodes.contains_key(**node));
            let mut left: Vec<ExternalId> = left.map(|node| (*node).clone()).collect();
            let NodesSeen::Listed(listed) = seen.nodes else {
                // An outline is silent by its nature.
                if seen.outcome != Outcome::Outlined {
                    absence.unseen_nodes.append(&mut left);
                }
                continue;
            };
            if listed > 0 {
                absence.populated.push(id.clone());
            }
            if complete && !left.is_empty() {
                left.sort_unstable();
                let left = NodesLeft { environment: id.clone(), nodes: left, emptied: listed == 0 };
                absence.nodes.push(left);
            }
        }
        absence.environments.sort_unstable();
        absence.seen.sort_unstable();
        absence.populated.sort_unstable();
        absence.unseen_nodes.sort_unstable();
        absence.nodes.sort_unstable_by(|a, b| a.environment.cmp(&b.environment));
        absence
    }
}

/// Decides about one row. A row that this listing already had written is
/// written again even if its last form equals the stored one: the earlier form
/// is on its way to the table.
fn outcome(stored: Option<&StoredRow>, item: &Item, before: Option<Outcome>) -> Outcome {
    if let Some(Outcome::Written(kind)) = before {
        return Outcome::Written(kind);
    }
    match stored {
        None => Outcome::Written(UpsertKind::Insert),
        Some(row) if row.flags.stale || row.flags.missing_since.is_some() => {
            Outcome::Written(UpsertKind::Return)
        }
        Some(row)
            if row.flags.any()
                || row.source_version != item.source_version
                || (item.data_type() == DataType::Nodes
                    && row.parent.as_ref() != item.parent()) =>
        {
            Outcome::Written(UpsertKind::Update)
        }
        Some(_) => Outcome::Unchanged,
    }
}

/// Counts an outcome in place of what was counted for the same row before.
fn recount(counts: &mut Counts, before: Option<Outcome>, now: Outcome) {
    if let Some(before) = before {
        let slot = slot(counts, before);
        *slot -= 1;
        counts.listed -= 1;
        counts.returned -= u64::from(before == Outcome::Written(UpsertKind::Return));
    }
    counts.listed += 1;
    *slot(counts, now) += 1;
    counts.returned += u64::from(now == Outcome::Written(UpsertKind::Return));
}

fn slot(counts: &mut Counts, outcome: Outcome) -> &mut u64 {
    match outcome {
        Outcome::Outlined | Outcome::Unchanged => &mut counts.unchanged,
        Outcome::Written(UpsertKind::Insert) => &mut counts.inserted,
        Outcome::Written(UpsertKind::Update | UpsertKind::Return) => &mut counts.updated,
        Outcome::Quarantined => &mut counts.quarantined,
    }
}

#[cfg(test)]
mod tests;
