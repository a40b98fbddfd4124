//! Rows and items for the tests of the policies.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::datetime;

use super::baseline::{Baseline, RowFlags, StoredRow};
use super::ids::{ExternalId, Fence};
use super::item::{
    Columns, Element, EnvironmentColumns, EnvironmentElement, Item, NodeColumns, RawVersion,
    SourceVersion,
};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

pub(crate) fn id(text: impl Into<Arc<str>>) -> ExternalId {
    ExternalId::new(text)
}

pub(crate) fn version(text: &str) -> SourceVersion {
    SourceVersion(Sha256::digest(text.as_bytes()).into())
}

pub(crate) fn raw(text: &str) -> RawVersion {
    RawVersion(Sha256::digest(text.as_bytes()).into())
}

pub(crate) fn environment_item(name: &str, form: &str) -> Item {
    Item {
        id: id(name),
        payload: form.into(),
        source_version: version(form),
        raw_version: None,
        outline_version: Some(version(form)),
        columns: Columns::Environment(Box::new(EnvironmentColumns {
            env_name: name.to_owned(),
            status: 1,
            ..EnvironmentColumns::default()
        })),
    }
}

pub(crate) fn node_item(environment: &str, name: &str, form: &str) -> Item {
    Item {
        id: id(name),
        payload: form.into(),
        source_version: version(form),
        raw_version: None,
        outline_version: None,
        columns: Columns::Node(Box::new(NodeColumns {
            environment: id(environment),
            env_name: environment.to_owned(),
            name: None,
            display_name: None,
            node_group: None,
            node_type: None,
            status: 1,
            int_ip: None,
            ext_ips: Vec::new(),
            is_master: None,
            fixed_cloudlets: None,
            flexible_cloudlets: None,
            disk_limit_mb: None,
            version: None,
        })),
    }
}

/// An element in its first form, with nodes in theirs.
pub(crate) fn element(name: &str, nodes: &[&str]) -> EnvironmentElement {
    EnvironmentElement {
        environment: environment_item(name, "1"),
        nodes: Some(nodes.iter().map(|node| node_item(name, node, "1")).collect()),
        malformed_nodes: Vec::new(),
    }
}

pub(crate) fn listed(element: EnvironmentElement) -> Element {
    Element::Environment(Box::new(element))
}

pub(crate) fn row(parent: Option<&str>, env_name: Option<&str>) -> StoredRow {
    StoredRow {
        source_version: version("1"),
        raw_version: None,
        fence: Fence(1),
        outline_version: env_name.map(|_| version("1")),
        parent: parent.map(id),
        env_name: env_name.map(str::to_owned),
        status: Some(1),
        flags: RowFlags::default(),
    }
}

/// A mirror of environments with their nodes, everything in its first form.
pub(crate) fn mirror(environments: &[(&str, &[&str])]) -> Baseline {
    let mut baseline = Baseline::default();
    for (name, nodes) in environments {
        baseline.environments.insert(id(*name), row(None, Some(name)));
        for node in *nodes {
            baseline.nodes.insert(id(*node), row(Some(name), None));
        }
    }
    baseline
}
