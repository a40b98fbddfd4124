//! The columns that people filter by, read from a parsed element. Wire names and types are those
//! of the recorded samples; null counts as absent, another type is wrong.

use time::OffsetDateTime;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use vz_sync_actors::domain::ExternalId;
use vz_sync_actors::domain::item::{EnvironmentColumns, JobLogColumns, NodeColumns};

use super::json::Json;

/// How the platform writes a moment; UTC, as request times are.
pub(super) const WIRE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Longest identifier: it is a key in the mirror.
const ID_CAP: usize = 256;
/// Longest text in a column; the payload has it whole.
const TEXT_CAP: usize = 1024;

/// What is wrong with an element, without values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

fn wrong<T>(key: &str, expected: &str) -> Result<T, Wrong> {
    Err(Wrong(format!("{key} is not {expected}")))
}

fn env<'t, 'a>(tree: &'t Json<'a>) -> Result<&'t Json<'a>, Wrong> {
    match tree.get("env") {
        Some(env @ Json::Object(_)) => Ok(env),
        _ => wrong("env", "an object"),
    }
}

/// Whether a text can be a key in the mirror.
pub(super) fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_CAP
}

/// `env.appid` of an element.
pub(super) fn appid(tree: &Json<'_>) -> Result<ExternalId, Wrong> {
    identifier(env(tree)?, "appid")
}

/// `env.uid` of an element.
pub(super) fn owner_uid(tree: &Json<'_>) -> Result<i64, Wrong> {
    env(tree)?.get("uid").and_then(Json::integer).map_or_else(|| wrong("env.uid", "a number"), Ok)
}

/// An identifier, which some methods write as a number and some as a text.
pub(super) fn identifier(tree: &Json<'_>, key: &str) -> Result<ExternalId, Wrong> {
    tree.get(key).and_then(as_identifier).map_or_else(|| wrong(key, "an identifier"), Ok)
}

/// The same of a value that was found.
pub(super) fn as_identifier(value: &Json<'_>) -> Option<ExternalId> {
    match value {
        Json::Text(text) if is_identifier(text) => Some(ExternalId::from(text.as_ref())),
        Json::Int(number) => Some(ExternalId::from(number.to_string())),
        _ => None,
    }
}

fn text(tree: &Json<'_>, key: &str) -> Result<Option<String>, Wrong> {
    match tree.get(key) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(capped(text))),
        Some(_) => wrong(key, "a text"),
    }
}

fn capped(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_CAP)].to_owned()
}

fn long(tree: &Json<'_>, key: &str) -> Result<Option<i64>, Wrong> {
    match tree.get(key) {
        None => Ok(None),
        Some(value) => {
            value.integer().map_or_else(|| wrong(key, "a whole number"), |n| Ok(Some(n)))
        }
    }
}

fn int(tree: &Json<'_>, key: &str) -> Result<Option<i32>, Wrong> {
    match long(tree, key)?.map(i32::try_from).transpose() {
        Ok(number) => Ok(number),
        Err(_) => wrong(key, "a 32-bit number"),
    }
}

fn flag(tree: &Json<'_>, key: &str) -> Result<Option<bool>, Wrong> {
    match tree.get(key) {
        None => Ok(None),
        Some(Json::Bool(value)) => Ok(Some(*value)),
        Some(_) => wrong(key, "true or false"),
    }
}

fn texts(tree: &Json<'_>, key: &str) -> Result<Vec<String>, Wrong> {
    let Some(value) = tree.get(key) else { return Ok(Vec::new()) };
    let Json::List(items) = value else { return wrong(key, "a list") };
    let items = items.iter().map(|item| item.text().map(capped)).collect::<Option<Vec<_>>>();
    items.map_or_else(|| wrong(key, "a list of texts"), Ok)
}

fn moment(tree: &Json<'_>, key: &str) -> Result<Option<OffsetDateTime>, Wrong> {
    let read = match tree.get(key) {
        None => return Ok(None),
        Some(Json::Text(text)) => PrimitiveDateTime::parse(text, WIRE_TIME)
            .map(PrimitiveDateTime::assume_utc)
            .or_else(|_| OffsetDateTime::parse(text, &Rfc3339))
            .ok(),
        // Java's own form of a date in JSON.
        Some(Json::Int(millis)) => {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(*millis) * 1_000_000).ok()
        }
        Some(_) => None,
    };
    read.map_or_else(|| wrong(key, "a date"), |read| Ok(Some(read)))
}

fn required<T>(value: Option<T>, key: &str) -> Result<T, Wrong> {
    value.map_or_else(|| Err(Wrong(format!("{key} is absent"))), Ok)
}

/// Members of a node that columns are read from, sorted.
const NODE: [&str; 13] = [
    "diskLimit",
    "displayName",
    "extIPs",
    "fixedCloudlets",
    "flexibleCloudlets",
    "id",
    "intIP",
    "ismaster",
    "name",
    "nodeGroup",
    "nodeType",
    "status",
    "version",
];

/// What columns need of a node's canonical text.
pub(super) fn node_tree(canonical: &str) -> Result<Json<'_>, Wrong> {
    Json::sparse(canonical, &NODE).or_else(|_| wrong("the node", "readable"))
}

/// Columns of an element that is an environment.
pub(super) fn environment(tree: &Json<'_>) -> Result<EnvironmentColumns, Wrong> {
    let env = env(tree)?;
    let region = match env.get("hostGroup") {
        None => None,
        Some(group @ Json::Object(_)) => text(group, "uniqueName")?,
        Some(_) => return wrong("hostGroup", "an object"),
    };
    let env_name = required(text(env, "envName")?, "envName")?;
    if env_name.is_empty() {
        return wrong("envName", "a name");
    }
    Ok(EnvironmentColumns {
        env_name,
        short_domain: text(env, "shortdomain")?,
        domain: text(env, "domain")?,
        display_name: text(env, "displayName")?,
        status: required(int(env, "status")?, "status")?,
        owner_uid: owner_uid(tree)?,
        creator_uid: long(env, "creatorUid")?,
        region,
        created_on: moment(env, "createdOn")?,
        ha: flag(env, "ishaenabled")?,
        ssl: flag(env, "sslstate")?,
        groups: texts(tree, "envGroups")?,
    })
}

/// Columns of a node.
pub(super) fn node(
    node: &Json<'_>,
    environment: &ExternalId,
    env_name: &str,
) -> Result<NodeColumns, Wrong> {
    Ok(NodeColumns {
        environment: environment.clone(),
        env_name: env_name.to_owned(),
        name: text(node, "name")?,
        display_name: text(node, "displayName")?,
        node_group: text(node, "nodeGroup")?,
        node_type: text(node, "nodeType")?,
        status: required(int(node, "status")?, "status")?,
        int_ip: text(node, "intIP")?,
        ext_ips: texts(node, "extIPs")?,
        is_master: flag(node, "ismaster")?,
        fixed_cloudlets: int(node, "fixedCloudlets")?,
        flexible_cloudlets: int(node, "flexibleCloudlets")?,
        disk_limit_mb: long(node, "diskLimit")?,
        version: text(node, "version")?,
    })
}

/// Columns of an action. No sample of one is public, so each is looked for under every name that
/// the search parameters and clients suggest.
pub(super) fn action(action: &Json<'_>) -> Result<JobLogColumns, Wrong> {
    let name = first(action, &["action", "actionName", "name", "actionType", "type"], text)?;
    Ok(JobLogColumns {
        environment: first(action, &["appid", "appId", "targetAppid"], text)?
            .filter(|id| is_identifier(id))
            .map(ExternalId::from),
        env_name: first(action, &["env", "envName"], text)?,
        action: required(name, "action")?,
        result: first(action, &["result", "resultCode"], int)?,
        started_at: first(action, &["startTime", "startDate", "createdOn", "date"], moment)?,
        finished_at: first(action, &["endTime", "endDate", "finishDate"], moment)?,
        uid: first(action, &["uid", "ownerUid"], long)?,
        login: first(action, &["login", "email"], text)?,
    })
}

fn first<T>(
    tree: &Json<'_>,
    keys: &[&str],
    read: impl Fn(&Json<'_>, &str) -> Result<Option<T>, Wrong>,
) -> Result<Option<T>, Wrong> {
    keys.iter().find_map(|key| read(tree, key).transpose()).transpose()
}
