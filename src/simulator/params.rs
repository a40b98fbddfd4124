//! Parameters of a call: from the query string, and from the form of a POST, which wins.

use std::collections::HashMap;

use axum::extract::{Form, FromRequest, Query, Request};
use axum::http::Method;

/// The parameters of one call.
#[derive(Default)]
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    pub(crate) async fn read(request: Request) -> Self {
        type Pairs = Vec<(String, String)>;
        let mut params = Self::default();
        if let Ok(Query(pairs)) = Query::<Pairs>::try_from_uri(request.uri()) {
            params.0.extend(pairs);
        }
        if request.method() == Method::POST {
            // A body that is no form has no parameters, as on the platform.
            if let Ok(Form(pairs)) = Form::<Pairs>::from_request(request, &()).await {
                params.0.extend(pairs);
            }
        }
        params
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `session`, or its newer alias.
    pub(crate) fn session(&self) -> Option<&str> {
        self.get("session").or_else(|| self.get("token"))
    }

    /// `envName` and its aliases. `appid` may also carry the system value of calls that are tied
    /// to no environment, so it comes last.
    pub(crate) fn environment(&self) -> Option<&str> {
        ["envName", "domain", "appid"].into_iter().find_map(|name| self.get(name))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// `Err` when there is a value that is no number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, ()> {
        self.get(name).map(|text| text.parse().map_err(|_| ())).transpose()
    }
}
