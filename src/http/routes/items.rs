//! The tables of the mirror, page by page.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use vz_sync_actors::domain::DataType;

use super::list_query::{ListParams, cursor_text, read};
use crate::http::demand;
use crate::http::etag::{Tagger, matches};
use crate::http::extract::{AuthorizedTeam, Read};
use crate::http::freshness::{FreshnessBlock, judge, staler, tables};
use crate::http::model::ItemList;
use crate::http::problem::Problem;
use crate::http::render::{self, Nodes};
use crate::http::state::ApiState;

/// Environments
#[utoipa::path(
    get, path = "/teams/{team_id}/environments", tag = "mirror",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("env_name" = Option<String>, Query, description = "Exactly this envName"),
        ("status" = Option<String>, Query, description = "By number or name, e.g. RUNNING"),
        ("region" = Option<String>, Query, description = "Exactly this region"),
        ("owner_uid" = Option<i64>, Query, description = "Of this account"),
        ("group" = Option<String>, Query, description = "In this group"),
        ListParams,
    ),
    responses((status = 200, body = ItemList), (status = 304, description = "Items and query are what the client has")),
)]
pub async fn environments(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&api, &auth, DataType::Environments, &uri, &headers).await
}

/// Nodes
#[utoipa::path(
    get, path = "/teams/{team_id}/nodes", tag = "mirror", security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("environment_id" = Option<String>, Query, description = "Of this environment"),
        ("env_name" = Option<String>, Query, description = "Of the environment of this envName"),
        ("status" = Option<String>, Query, description = "By number or name, e.g. RUNNING"),
        ("node_group" = Option<String>, Query, description = "In this layer"),
        ("node_type" = Option<String>, Query, description = "Of this type"),
        ListParams,
    ),
    responses((status = 200, body = ItemList), (status = 304, description = "Items and query are what the client has")),
)]
pub async fn nodes(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&api, &auth, DataType::Nodes, &uri, &headers).await
}

/// Archived sites
///
/// Environments that were confirmed gone, with their last snapshot.
#[utoipa::path(
    get, path = "/teams/{team_id}/archived-sites", tag = "mirror",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("env_name" = Option<String>, Query, description = "Exactly this envName"),
        ("reason" = Option<String>, Query, description = "Why it was archived"),
        ("region" = Option<String>, Query, description = "Exactly this region"),
        ListParams,
    ),
    responses((status = 200, body = ItemList), (status = 304, description = "Items and query are what the client has")),
)]
pub async fn archived_sites(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&api, &auth, DataType::ArchivedSites, &uri, &headers).await
}

/// Job logs
///
/// The platform's action history.
#[utoipa::path(
    get, path = "/teams/{team_id}/job-logs", tag = "mirror", security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("environment_id" = Option<String>, Query, description = "Of this environment"),
        ("env_name" = Option<String>, Query, description = "Of the environment of this envName"),
        ("action" = Option<String>, Query, description = "Exactly this action"),
        ("result" = Option<i64>, Query, description = "With this result code"),
        ListParams,
    ),
    responses((status = 200, body = ItemList), (status = 304, description = "Items and query are what the client has")),
)]
pub async fn job_logs(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    list(&api, &auth, DataType::JobLogs, &uri, &headers).await
}

async fn list(
    api: &ApiState,
    auth: &AuthorizedTeam<Read>,
    data_type: DataType,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let text = uri.query().unwrap_or_default();
    let listing = read(auth.team, data_type, text)?;
    // Facts first: rows that are read later can only be younger than promised.
    let tables = tables(data_type, listing.include.nodes);
    let facts = demand::facts(api, auth.team, tables, listing.patience).await?;
    let page = api.ports.reads.items(&listing.query).await?;
    let nodes = if listing.include.nodes {
        let ids: Vec<_> = page.rows.iter().map(|row| row.id.clone()).collect();
        let stale = listing.query.include_stale;
        Some(api.ports.reads.nodes_of(auth.team, &ids, stale).await?)
    } else {
        None
    };
    let next_cursor = page.next.map(|cursor| cursor_text(&listing.query, cursor));
    let freshness = facts.iter().map(judge).reduce(staler);
    let freshness = freshness.ok_or_else(|| Problem::not_found("The team"))?;

    let mut tagger = Tagger::new(uri.path(), text).part(next_cursor.as_deref().unwrap_or_default());
    for row in &page.rows {
        tagger = tagger.row(row);
        for node in nodes.as_ref().and_then(|nodes| nodes.get(&row.id)).into_iter().flatten() {
            tagger = tagger.row(node);
        }
    }
    respond(headers, &tagger.finish(), freshness, |freshness| {
        let payload = listing.include.payload;
        let nodes: Option<&Nodes> = nodes.as_ref();
        let items = page.rows.iter().map(|row| render::item(row, payload, nodes));
        Ok(ItemList { items: items.collect::<Result<_, _>>()?, next_cursor, freshness })
    })
}

/// 304 when the client has the answer, else the answer; the freshness headers
/// either way.
pub fn respond<T: Serialize>(
    headers: &HeaderMap,
    tag: &HeaderValue,
    freshness: FreshnessBlock,
    body: impl FnOnce(FreshnessBlock) -> Result<T, Problem>,
) -> Result<Response, Problem> {
    let block = freshness.clone();
    let mut response = if matches(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        axum::Json(body(freshness)?).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.clone());
    // Shared caches must not keep one tenant's rows, browsers must ask again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    block.write_headers(headers);
    Ok(response)
}
