//! The action history and what runs now.
//!
//! No sample of a tracking answer is public: an action names its environment in `env`, times are
//! UTC, and the rest follows the search parameters. Both `array` and `actions` are taken as the
//! list's name.

use std::borrow::Cow;

use serde::Serialize;
use time::{Duration, OffsetDateTime};
use vz_sync_actors::domain::canonical::source_version;
use vz_sync_actors::domain::{
    Columns, Completeness, DataType, ExternalId, Failure, Item, PartialReason,
};
use vz_sync_actors::ports::credentials::Access;
use vz_sync_actors::ports::platform::{ActionPage, ActionQuery, ActionTarget};

use super::client::{Client, GET_CURRENT_ACTIONS, Method, SEARCH_ACTIONS};
use super::columns::{self, WIRE_TIME, Wrong};
use super::element;
use super::errors::{self, Envelope};
use super::json::{Json, Members, items};
use super::rules::Rules;

/// The `search` parameter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    start_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<String>,
    start_row: u64,
    result_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<[String; 1]>,
}

fn wire_time(at: OffsetDateTime) -> String {
    // The format has only parts that every date has.
    at.to_offset(time::UtcOffset::UTC).format(WIRE_TIME).unwrap_or_default()
}

impl Search {
    fn of(query: &ActionQuery) -> Self {
        // Wire times have whole seconds: the end is rounded up, so that nothing falls between.
        let until = query.until.map(|until| match until.nanosecond() {
            0 => until,
            _ => until + Duration::SECOND,
        });
        Self {
            start_date: wire_time(query.from),
            end_date: until.map(wire_time),
            start_row: query.start_row,
            result_count: query.rows,
            types: query.action.clone().map(|action| [action]),
        }
    }
}

/// One page of the history.
pub(super) async fn search(
    client: &Client,
    access: &Access,
    query: &ActionQuery,
) -> Result<ActionPage, Failure> {
    let search = serde_json::to_string(&Search::of(query)).unwrap_or_default();
    let answer = client.send(access, SEARCH_ACTIONS, &[("search", &search)]).await?;
    let (sent_at, clock) = (answer.sent_at, answer.clock());
    let body = answer.whole(client.options.max_element).await?;
    let text = text(client, SEARCH_ACTIONS, &body)?;
    let members = members(&text, SEARCH_ACTIONS)?;
    let list = list(&members, SEARCH_ACTIONS)?;
    let mut page = ActionPage {
        items: Vec::with_capacity(list.len()),
        // A platform that gives no total: there may be more behind a full page.
        total: members.read("totalCount").and_then(|total| total.integer()).map_or_else(
            || {
                let seen = query.start_row + list.len() as u64;
                seen + u64::from(list.len() >= query.rows as usize)
            },
            |total| u64::try_from(total).unwrap_or(0),
        ),
        completeness: Completeness::Complete,
        sent_at,
        clock,
        malformed: Vec::new(),
    };
    let mut rules = Rules::default();
    for action in list {
        match item(&action, &mut rules) {
            Ok(item) => page.items.push(item),
            Err(Wrong(error)) => {
                let malformed = element::malformed(&action, DataType::JobLogs, error);
                if malformed.id.is_none() {
                    let doubt = Completeness::Partial(PartialReason::UnidentifiedElement);
                    page.completeness = page.completeness.and(doubt);
                }
                page.malformed.push(malformed);
            }
        }
    }
    Ok(page)
}

/// What runs now.
pub(super) async fn current(
    client: &Client,
    access: &Access,
) -> Result<Vec<ActionTarget>, Failure> {
    let answer = client.send(access, GET_CURRENT_ACTIONS, &[]).await?;
    let body = answer.whole(client.options.max_element).await?;
    let text = text(client, GET_CURRENT_ACTIONS, &body)?;
    let members = members(&text, GET_CURRENT_ACTIONS)?;
    let list = list(&members, GET_CURRENT_ACTIONS)?;
    let actions = list.iter().filter_map(|action| Json::parse(action.as_bytes()).ok());
    let targets = actions.map(|action| target(&action));
    Ok(targets.filter(|target| target.id.is_some() || target.env_name.is_some()).collect())
}

fn target(action: &Json<'_>) -> ActionTarget {
    let find = |keys: &[&str]| {
        keys.iter().find_map(|key| action.get(key)?.text()).filter(|text| !text.is_empty())
    };
    ActionTarget {
        id: find(&["appid", "appId", "targetAppid"]).map(ExternalId::from),
        env_name: find(&["env", "envName"]).map(str::to_owned),
    }
}

fn item(text: &str, rules: &mut Rules) -> Result<Item, Wrong> {
    let payload = rules.plain(text)?;
    let tree = element::parsed(&payload)?;
    let id = columns::identifier(&tree, "id")?;
    let columns = columns::action(&tree)?;
    Ok(Item {
        id,
        source_version: source_version(&payload),
        payload,
        raw_version: None,
        outline_version: None,
        columns: Columns::JobLog(Box::new(columns)),
    })
}

/// The text of a successful answer.
fn text<'b>(client: &Client, method: Method, body: &'b [u8]) -> Result<Cow<'b, str>, Failure> {
    let envelope = Envelope::read(body).ok_or_else(|| errors::not_json(body, method.name))?;
    envelope.verdict(method.name, &client.options.codes)?;
    Ok(element::text(body))
}

fn members(text: &str, method: Method) -> Result<Members<'_>, Failure> {
    Members::of(text).map_err(|_| {
        errors::retryable("invalid_json", method.name, "was answered with JSON that cannot be read")
    })
}

fn list<'m>(members: &'m Members<'_>, method: Method) -> Result<Vec<Cow<'m, str>>, Failure> {
    members
        .get("array")
        .or_else(|| members.get("actions"))
        .and_then(|list| items(list).ok())
        .ok_or_else(|| {
            errors::invalid("list_missing", method.name, "answered without a list of actions")
        })
}
