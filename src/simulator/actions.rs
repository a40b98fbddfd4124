//! The action history: what tracking answers are made of.
//!
//! No sample of a tracking answer is public. What is certain is that an action names its
//! environment in `env` and that times are UTC; the other names follow the search parameters.

use serde::{Deserialize, Serialize};

use super::clock::{parse_wire_time, wire_time};

/// Something that a user did on the platform.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) id: i64,
    pub(crate) kind: &'static str,
    pub(crate) appid: String,
    pub(crate) env: String,
    pub(crate) uid: i64,
    pub(crate) login: String,
    pub(crate) started_at: i64,
    /// Absent while the action runs.
    pub(crate) ended_at: Option<i64>,
    pub(crate) result: i32,
    /// Entries can show up in the history later than they happened.
    pub(crate) visible_at: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActionItem<'a> {
    id: i64,
    action: &'a str,
    service_name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    env: &'a str,
    appid: &'a str,
    uid: i64,
    login: &'a str,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i32>,
}

impl Action {
    /// The action as it is written; `skew` is by how much the platform's clock is wrong.
    pub(crate) fn item(&self, skew: i64) -> ActionItem<'_> {
        ActionItem {
            id: self.id,
            action: self.kind,
            service_name: "environment.control",
            kind: "PUBLIC",
            env: &self.env,
            appid: &self.appid,
            uid: self.uid,
            login: &self.login,
            start_time: wire_time(self.started_at + skew),
            end_time: self.ended_at.map(|ended_at| wire_time(ended_at + skew)),
            status: match (self.ended_at, self.result) {
                (None, _) => "RUNNING",
                (Some(_), 0) => "SUCCESS",
                (Some(_), _) => "ERROR",
            },
            result: self.ended_at.map(|_| self.result),
        }
    }
}

/// The `search` parameter of SearchActions. Unknown members are refused nowhere: the platform's
/// own list is longer than what matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Search {
    start_date: Option<String>,
    end_date: Option<String>,
    start_row: usize,
    result_count: Option<usize>,
    appids: Vec<String>,
    types: Vec<String>,
    service_name: Option<String>,
    result_code: Option<i32>,
    only_errors: bool,
    only_completed: bool,
    uid: Option<i64>,
    login: Option<String>,
    value: Option<String>,
    id: Option<i64>,
    order_direction: Option<String>,
}

/// A page of the history and how many entries there are in all.
pub(crate) struct Page<'a> {
    pub(crate) actions: Vec<&'a Action>,
    pub(crate) total: usize,
}

impl Search {
    /// Reads the parameter; a date in another form than the platform's is an error.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let search = serde_json::from_str::<Self>(text).ok()?;
        let dates = [&search.start_date, &search.end_date];
        let readable = dates.into_iter().flatten().all(|date| parse_wire_time(date).is_some());
        readable.then_some(search)
    }

    /// The newest entries first, unless `orderDirection` is `ASC`. Both ends of the window count,
    /// and it is the start of an action that has to lie in it.
    pub(crate) fn page<'a>(&self, history: &'a [Action], now: i64, skew: i64) -> Page<'a> {
        let from = self.start_date.as_deref().and_then(parse_wire_time).unwrap_or(i64::MIN);
        let until = self.end_date.as_deref().and_then(parse_wire_time).unwrap_or(i64::MAX);
        let mut found = history
            .iter()
            .filter(|action| action.visible_at <= now)
            .filter(|action| (from..=until).contains(&(action.started_at + skew)))
            .filter(|action| self.matches(action))
            .collect::<Vec<_>>();
        found.sort_by_key(|action| (action.started_at, action.id));
        if !self.order_direction.as_deref().is_some_and(|order| order.eq_ignore_ascii_case("asc")) {
            found.reverse();
        }
        let total = found.len();
        let count = self.result_count.unwrap_or(10);
        Page { actions: found.into_iter().skip(self.start_row).take(count).collect(), total }
    }

    fn matches(&self, action: &Action) -> bool {
        let wanted = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|entry| entry == value)
        };
        wanted(&self.appids, &action.appid)
            && (wanted(&self.types, "PUBLIC") || wanted(&self.types, action.kind))
            && self.service_name.as_deref().is_none_or(|name| name == "environment.control")
            && self.result_code.is_none_or(|code| action.result == code)
            && (!self.only_errors || action.result != 0)
            && (!self.only_completed || action.ended_at.is_some())
            && self.uid.is_none_or(|uid| uid == action.uid)
            && self.login.as_deref().is_none_or(|login| login == action.login)
            && self.value.as_deref().is_none_or(|value| action.env.contains(value))
            && self.id.is_none_or(|id| id == action.id)
    }
}
