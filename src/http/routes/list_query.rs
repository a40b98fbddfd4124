//! The query string of a table's listing, read strictly: every field is
//! known, every filter has the right type, every cursor belongs to its sort.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::IntoParams;
use vz_sync_actors::domain::status::status;
use vz_sync_actors::domain::{DataType, TeamId};
use vz_sync_actors::ports::reads::{Cursor, ItemQuery, filter_fields, sort_fields};

use super::sync::page_size;
use crate::http::demand::Patience;
use crate::http::problem::{Kind, Problem};

/// What every listing takes beside the filters of its table.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "names the parameters in the document only")]
pub struct ListParams {
    /// Text search over names and domains, case-insensitive.
    #[param(max_length = 128)]
    q: Option<String>,
    /// Sort field; a leading `-` sorts descending.
    sort: Option<String>,
    /// `next_cursor` of the page before, with the same query.
    cursor: Option<String>,
    /// Rows of a page, 1 to 500; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Rows that are confirmed gone, too.
    include_stale: Option<bool>,
    /// Comma-separated: `payload`, and `nodes` for environments.
    include: Option<String>,
    /// The answer should be no older, e.g. `30s`; a run is asked for if it is.
    max_age: Option<String>,
    /// How long the answer may take for that, at most `20s`.
    wait: Option<String>,
}

/// What else a single row takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Include {
    /// The nodes of each environment.
    pub nodes: bool,
    /// The redacted payload.
    pub payload: bool,
}

/// A listing's query, understood.
#[derive(Debug)]
pub struct Listing {
    /// For the store.
    pub query: ItemQuery,
    /// What to add to each row.
    pub include: Include,
    /// How fresh it should be.
    pub patience: Patience,
}

/// A cursor as clients carry it: it names its sort, so it cannot be used with
/// another.
#[derive(Serialize, Deserialize)]
struct Token {
    s: String,
    d: bool,
    c: Cursor,
}

/// The cursor of the page after, as text.
pub fn cursor_text(query: &ItemQuery, cursor: Cursor) -> String {
    let token = Token { s: query.sort.clone(), d: query.descending, c: cursor };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// Reads a query string.
pub fn read(team: TeamId, data_type: DataType, text: &str) -> Result<Listing, Problem> {
    let pairs: Vec<(String, String)> = pairs(text)?;
    let sorts = sort_fields(data_type);
    let mut query = ItemQuery {
        team,
        data_type,
        filters: Vec::new(),
        text: None,
        sort: sorts[0].to_owned(),
        descending: false,
        after: None,
        limit: 50,
        include_stale: false,
    };
    let (mut include, mut patience) = (Include::default(), Patience::default());
    let (mut cursor, mut seen) = (None, Vec::new());
    for (name, value) in pairs {
        if value.len() > 512 || value.chars().any(char::is_control) {
            return refuse(format!("{name} must be at most 512 bytes without control characters."));
        }
        if seen.contains(&name) {
            return refuse(format!("{name} is given twice."));
        }
        match name.as_str() {
            "q" if value.chars().count() > 128 => {
                return refuse("q must be at most 128 characters.");
            }
            "q" => query.text = Some(value).filter(|text| !text.is_empty()),
            "sort" => {
                let field = value.strip_prefix('-').unwrap_or(&value);
                if !sorts.contains(&field) {
                    return refuse(format!("sort must be one of {}.", sorts.join(", ")));
                }
                (query.sort, query.descending) = (field.to_owned(), value.starts_with('-'));
            }
            "cursor" => cursor = Some(value),
            "limit" => query.limit = page_size(Some(scalar(&name, &value)?), 500)?,
            "include_stale" => query.include_stale = scalar(&name, &value)?,
            "include" => include = read_include(data_type, &value)?,
            "max_age" => patience.max_age = Some(scalar(&name, &value)?),
            "wait" => patience.wait = Some(scalar(&name, &value)?),
            filter if filter_fields(data_type).contains(&filter) => {
                let value = filter_value(filter, value)?;
                query.filters.push((filter.to_owned(), value));
            }
            _ => return refuse(unknown(data_type)),
        }
        seen.push(name);
    }
    patience.check()?;
    query.after = cursor.map(|text| read_cursor(&query, &text)).transpose()?;
    Ok(Listing { query, include, patience })
}

/// Splits a query string.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let uri = format!("/?{text}").parse().or_else(|_| refuse("The query cannot be read."))?;
    match axum::extract::Query::try_from_uri(&uri) {
        Ok(query) => Ok(query.0),
        Err(_) => refuse("The query cannot be read."),
    }
}

/// One value as `T`, by the rules of query strings.
pub fn scalar<T: DeserializeOwned>(name: &str, value: &str) -> Result<T, Problem> {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let wrong = || Problem::new(Kind::INVALID_QUERY, format!("{name} cannot be {value:?}."));
    // JSON knows numbers and booleans; everything else is text.
    let text: StrDeserializer<'_, Error> = value.into_deserializer();
    serde_json::from_str(value).or_else(|_| T::deserialize(text)).map_err(|_| wrong())
}

/// Which additions a listing or a single row is asked for.
pub fn read_include(data_type: DataType, value: &str) -> Result<Include, Problem> {
    let mut include = Include::default();
    for word in value.split(',') {
        match word.trim() {
            "payload" => include.payload = true,
            "nodes" if data_type == DataType::Environments => include.nodes = true,
            _ if data_type == DataType::Environments => {
                return refuse("include must be payload or nodes, or both with a comma.");
            }
            _ => return refuse("include must be payload."),
        }
    }
    Ok(include)
}

fn read_cursor(query: &ItemQuery, text: &str) -> Result<Cursor, Problem> {
    let token = URL_SAFE_NO_PAD.decode(text).ok();
    match token.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok()) {
        Some(token) if token.s == query.sort && token.d == query.descending => Ok(token.c),
        Some(_) => refuse("The cursor belongs to another sort."),
        None => refuse("The cursor is not one of ours."),
    }
}

/// A filter's value as the store compares it. A status may be given by name.
fn filter_value(field: &str, value: String) -> Result<String, Problem> {
    match field {
        "status" => {
            let known = (0..=15).chain([1001, 1002]);
            let named = known.map(status).find(|s| s.name == value && s.name != "UNKNOWN");
            let code = named.map_or_else(|| value.parse().ok(), |status| Some(status.code));
            match code {
                Some(code) => Ok(code.to_string()),
                None => refuse("status must be a number or a name such as RUNNING."),
            }
        }
        "owner_uid" | "result" => match value.parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => refuse(format!("{field} must be a whole number.")),
        },
        _ => Ok(value),
    }
}

fn unknown(data_type: DataType) -> String {
    let common = "q, sort, cursor, limit, include_stale, include, max_age, wait";
    format!("The query knows {}, {common}.", filter_fields(data_type).join(", "))
}

fn refuse<T>(detail: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::new(Kind::INVALID_QUERY, detail))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn environments(text: &str) -> Result<Listing, Problem> {
        read(TeamId(1), DataType::Environments, text)
    }

    #[test]
    fn a_query_is_understood() {
        let text = "status=RUNNING&region=a%20b&q=shop&sort=-created_on&limit=7&include_stale=true\
                    &include=nodes,payload&max_age=30s&wait=500ms";
        let Listing { query, include, patience } = environments(text).unwrap();
        assert_eq!(query.filters, [("status".into(), "1".into()), ("region".into(), "a b".into())]);
        assert_eq!((query.text.as_deref(), query.limit), (Some("shop"), 7));
        assert!(query.include_stale && include.nodes && include.payload && query.descending);
        assert_eq!(query.sort, "created_on");
        assert_eq!(patience.max_age.unwrap().0, Duration::from_secs(30));
        assert_eq!(patience.wait.unwrap().0, Duration::from_millis(500));
        assert_eq!(environments("env_name=123").unwrap().query.filters[0].1, "123");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for text in [
            "colour=red",
            "limit=0",
            "limit=501",
            "limit=x",
            "limit=-1",
            "sort=payload",
            "sort=--env_name",
            "include=secrets",
            "include_stale=maybe",
            "status=BROKE",
            "owner_uid=me",
            "wait=2s",
            "max_age=1s&wait=21s",
            "max_age=soon",
            "cursor=abc",
            "cursor=",
            "q=a&q=b",
            "env_name=%00",
        ] {
            let problem = environments(text).expect_err(text);
            assert_eq!(problem.kind(), Kind::INVALID_QUERY, "{text}");
        }
        assert!(read(TeamId(1), DataType::Nodes, "include=nodes").is_err());
    }

    #[test]
    fn a_cursor_goes_with_its_sort_only() {
        let query = environments("sort=-status").unwrap().query;
        let cursor = Cursor { key: Some("1".into()), id: "a".into() };
        let text = cursor_text(&query, cursor.clone());
        let again = environments(&format!("sort=-status&cursor={text}")).unwrap();
        assert_eq!(again.query.after, Some(cursor));
        assert!(environments(&format!("sort=status&cursor={text}")).is_err());
    }
}
