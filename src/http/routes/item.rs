//! One row of the mirror, as it is or, for environments, as it was.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;
use vz_sync_actors::domain::{DataType, ExternalId, TeamId, diff};
use vz_sync_actors::ports::reads::ItemRow;

use super::items::respond;
use super::list_query::{Include, pairs, read_include, scalar};
use crate::http::demand::{self, Patience};
use crate::http::etag::Tagger;
use crate::http::extract::{AuthorizedTeam, PathIds, Read};
use crate::http::freshness::{judge, judge_at, staler, tables};
use crate::http::model::ItemAnswer;
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::render;
use crate::http::state::ApiState;

/// What a single row takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "names the parameters in the document only")]
pub struct OneParams {
    /// The answer should be no older, e.g. `30s`; a run is asked for if it is.
    max_age: Option<String>,
    /// How long the answer may take for that, at most `20s`.
    wait: Option<String>,
}

/// One environment
///
/// With `at`, its payload as it was then; 410 when the history does not reach back that far.
#[utoipa::path(
    get, path = "/teams/{team_id}/environments/{id}", tag = "mirror",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = String, Path, description = "appid"),
        ("include" = Option<String>, Query, description = "`nodes`"),
        ("at" = Option<String>, Query, description = "RFC 3339, in the past"),
        OneParams,
    ),
    responses(
        (status = 200, body = ItemAnswer),
        (status = 304, description = "The client has it"),
        (status = 410, description = "Past retention", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn environment(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    ids: PathIds,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&api, &auth, DataType::Environments, &ids, &uri, &headers).await
}

/// One node
#[utoipa::path(
    get, path = "/teams/{team_id}/nodes/{id}", tag = "mirror", security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = String, Path, description = "The platform's node id"),
        OneParams,
    ),
    responses((status = 200, body = ItemAnswer), (status = 304, description = "The client has it")),
)]
pub async fn node(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    ids: PathIds,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&api, &auth, DataType::Nodes, &ids, &uri, &headers).await
}

/// One archived site
#[utoipa::path(
    get, path = "/teams/{team_id}/archived-sites/{id}", tag = "mirror",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = String, Path, description = "appid"),
        OneParams,
    ),
    responses((status = 200, body = ItemAnswer), (status = 304, description = "The client has it")),
)]
pub async fn archived_site(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    ids: PathIds,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&api, &auth, DataType::ArchivedSites, &ids, &uri, &headers).await
}

/// One job log
#[utoipa::path(
    get, path = "/teams/{team_id}/job-logs/{id}", tag = "mirror",
    security(("bearer" = ["team.read"])),
    params(
        ("team_id" = i64, Path, description = "The team", minimum = 1),
        ("id" = String, Path, description = "The platform's action id"),
        OneParams,
    ),
    responses((status = 200, body = ItemAnswer), (status = 304, description = "The client has it")),
)]
pub async fn job_log(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    ids: PathIds,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&api, &auth, DataType::JobLogs, &ids, &uri, &headers).await
}

#[derive(Default)]
struct One {
    include: Include,
    patience: Patience,
    at: Option<OffsetDateTime>,
}

fn read(data_type: DataType, text: &str) -> Result<One, Problem> {
    let refuse = |detail: &str| Err(Problem::new(Kind::INVALID_QUERY, detail));
    let mut one = One::default();
    for (name, value) in pairs(text)? {
        match name.as_str() {
            "max_age" => one.patience.max_age = Some(scalar(&name, &value)?),
            "wait" => one.patience.wait = Some(scalar(&name, &value)?),
            "include" => one.include = read_include(data_type, &value)?,
            "at" if data_type == DataType::Environments => {
                match OffsetDateTime::parse(&value, &Rfc3339) {
                    Ok(at) => one.at = Some(at),
                    Err(_) => {
                        return refuse("at must be an RFC 3339 time, e.g. 2026-11-20T12:00:00Z.");
                    }
                }
            }
            _ if data_type == DataType::Environments => {
                return refuse("The query knows include, at, max_age and wait.");
            }
            _ => return refuse("The query knows include, max_age and wait."),
        }
    }
    one.patience.check()?;
    Ok(one)
}

async fn one(
    api: &ApiState,
    auth: &AuthorizedTeam<Read>,
    data_type: DataType,
    ids: &PathIds,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let id = ExternalId::from(ids.text("id")?);
    let text = uri.query().unwrap_or_default();
    let asked = read(data_type, text)?;
    let tables = tables(data_type, asked.include.nodes);
    let facts = demand::facts(api, auth.team, tables, asked.patience).await?;
    let row = api.ports.reads.item(auth.team, data_type, &id).await?;
    let row = row.ok_or_else(|| Problem::not_found("The item"))?;
    let nodes = if asked.include.nodes {
        let ids = std::slice::from_ref(&row.id);
        Some(api.ports.reads.nodes_of(auth.team, ids, row.stale).await?)
    } else {
        None
    };
    // The row's own time counts for its table; the nodes' table counts whole.
    let freshness = facts.iter().map(|table| {
        if table.data_type == data_type {
            judge_at(table, Some(row.synced_at))
        } else {
            judge(table)
        }
    });
    let freshness = freshness.reduce(staler).ok_or_else(|| Problem::not_found("The team"))?;

    let mut tagger = Tagger::new(uri.path(), text).row(&row);
    for node in nodes.as_ref().and_then(|nodes| nodes.get(&row.id)).into_iter().flatten() {
        tagger = tagger.row(node);
    }
    let item = match asked.at {
        Some(at) => as_it_was(api, auth.team, data_type, &row, at).await?,
        None => render::item(&row, true, nodes.as_ref())?,
    };
    respond(headers, &tagger.finish(), freshness, |freshness| Ok(ItemAnswer { item, freshness }))
}

/// Undoes every change that is younger than `at`.
async fn as_it_was(
    api: &ApiState,
    team: TeamId,
    data_type: DataType,
    row: &ItemRow,
    at: OffsetDateTime,
) -> Result<Box<serde_json::value::RawValue>, Problem> {
    if at < row.first_seen_at {
        let detail = "The item was not known then.";
        return Err(Problem::new(Kind::NOT_FOUND, detail));
    }
    let changes = api.ports.reads.undo_since(team, data_type, &row.id, at).await?;
    let changes = changes.ok_or_else(|| {
        Problem::new(Kind::GONE, "Older changes were removed; ask for a later time.")
    })?;
    let undo: Vec<String> =
        changes.iter().filter_map(|change| change.undo.as_ref()).map(ToString::to_string).collect();
    let payload = diff::apply(&row.payload, undo.iter().map(String::as_str))
        .map_err(|error| render::broken(&error))?;
    let at = at.format(&Rfc3339).map_err(|error| render::broken(&error))?;
    let then = json!({
        "id": row.id,
        "at": at,
        "payload": payload,
        "changes_undone": undo.len(),
    });
    serde_json::value::to_raw_value(&then).map_err(|error| render::broken(&error))
}
