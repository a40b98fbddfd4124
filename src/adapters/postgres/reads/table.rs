//! What each mirrored table can be filtered, searched and sorted by.
//!
//! Every piece of SQL is written here; a name that comes from outside only
//! picks one of these, and a value only ever becomes a parameter.

use vz_sync_actors::domain::DataType;

/// The statement and the columns of one table.
pub(super) struct Table {
    /// Rows of a team, up to its WHERE.
    pub(super) select: &'static str,
    /// Columns of equality filters by field.
    pub(super) filters: &'static [(&'static str, &'static str, Kind)],
    /// Columns of the sort orders by field; those that may be null are marked.
    pub(super) sorts: &'static [(&'static str, &'static str, Kind, Nulls)],
    /// Names and domains.
    pub(super) text: &'static str,
}

/// What a column holds, as far as a comparison cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `text`
    Text,
    /// `integer`
    Int,
    /// `bigint`
    Long,
    /// `timestamptz`
    Time,
    /// `text[]`: one element is meant.
    Member,
}

/// Whether a column may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// Never.
    None,
    /// Greatest of all, as Postgres sorts them.
    Greatest,
}

use Kind::{Int, Long, Member, Text, Time};

const ENVIRONMENTS: Table = Table {
    select: include_str!("../sql/items_environments.sql"),
    filters: &[
        ("env_name", "r.env_name", Text),
        ("status", "r.status", Int),
        ("region", "r.region", Text),
        ("owner_uid", "r.owner_uid", Long),
        ("group", "r.groups", Member),
    ],
    sorts: &[
        ("env_name", "r.env_name", Text, Nulls::None),
        ("created_on", "r.created_on", Time, Nulls::Greatest),
        ("status", "r.status", Int, Nulls::None),
        ("synced_at", "e.synced_at", Time, Nulls::None),
    ],
    text: "r.env_name, r.short_domain, r.domain, r.display_name",
};

const NODES: Table = Table {
    select: include_str!("../sql/items_nodes.sql"),
    filters: &[
        ("environment_id", "r.environment_id", Text),
        ("env_name", "r.env_name", Text),
        ("status", "r.status", Int),
        ("node_group", "r.node_group", Text),
        ("node_type", "r.node_type", Text),
    ],
    sorts: &[
        ("id", "r.id", Text, Nulls::None),
        ("env_name", "r.env_name", Text, Nulls::None),
        ("node_group", "r.node_group", Text, Nulls::Greatest),
        ("status", "r.status", Int, Nulls::None),
    ],
    text: "r.env_name, r.name, r.display_name, r.node_group, r.int_ip",
};

const ARCHIVED_SITES: Table = Table {
    select: include_str!("../sql/items_archived_sites.sql"),
    filters: &[
        ("env_name", "r.env_name", Text),
        ("reason", "r.reason", Text),
        ("region", "r.region", Text),
    ],
    sorts: &[
        ("archived_at", "r.archived_at", Time, Nulls::None),
        ("env_name", "r.env_name", Text, Nulls::None),
    ],
    text: "r.env_name, r.short_domain, r.domain, r.display_name",
};

const JOB_LOGS: Table = Table {
    select: include_str!("../sql/items_job_logs.sql"),
    filters: &[
        ("environment_id", "r.environment_id", Text),
        ("env_name", "r.env_name", Text),
        ("action", "r.action", Text),
        ("result", "r.result", Int),
    ],
    sorts: &[
        ("started_at", "r.started_at", Time, Nulls::Greatest),
        ("id", "r.id", Text, Nulls::None),
    ],
    text: "r.env_name, r.action, r.user_login",
};

/// The table of a data type.
pub(super) const fn of(data_type: DataType) -> &'static Table {
    match data_type {
        DataType::Environments => &ENVIRONMENTS,
        DataType::Nodes => &NODES,
        DataType::ArchivedSites => &ARCHIVED_SITES,
        DataType::JobLogs => &JOB_LOGS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vz_sync_actors::ports::reads::{filter_fields, sort_fields};

    #[test]
    fn every_field_of_the_port_has_a_column_and_no_other() {
        for data_type in DataType::ALL {
            let table = of(data_type);
            let filters: Vec<_> = table.filters.iter().map(|(field, ..)| *field).collect();
            let sorts: Vec<_> = table.sorts.iter().map(|(field, ..)| *field).collect();
            assert_eq!(filters, filter_fields(data_type), "{data_type}");
            assert_eq!(sorts, sort_fields(data_type), "{data_type}");
        }
    }
}
