//! The change stream of a team.

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use vz_sync_actors::domain::{DataType, ExternalId};
use vz_sync_actors::ports::reads::ChangeQuery;

use super::sync::page_size;
use crate::http::extract::{AuthorizedTeam, Query, Read};
use crate::http::model::{ChangeList, DataTypeWord};
use crate::http::problem::{Kind, Problem};
use crate::http::state::ApiState;

/// What the change stream is asked by.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Changes after this id; from the oldest that is kept when absent.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
    /// Only this table.
    #[param(value_type = Option<DataTypeWord>)]
    data_type: Option<DataType>,
    /// Only this row; needs `data_type`.
    id: Option<String>,
    /// Changes of a page, 1 to 500; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// What changed, field by field
///
/// Oldest first; go on with `after=next_after`. Ninety days are kept.
#[utoipa::path(
    get, path = "/teams/{team_id}/changes", tag = "mirror", security(("bearer" = ["team.read"])),
    params(("team_id" = i64, Path, description = "The team", minimum = 1), ChangesQuery),
    responses((status = 200, body = ChangeList)),
)]
pub async fn list(
    State(api): State<ApiState>,
    auth: AuthorizedTeam<Read>,
    Query(query): Query<ChangesQuery>,
) -> Result<Answer<ChangeList>, Problem> {
    let limit = page_size(query.limit, 500)?;
    if query.id.is_some() && query.data_type.is_none() {
        return Err(Problem::new(Kind::INVALID_QUERY, "id needs data_type."));
    }
    let ask = ChangeQuery {
        team: auth.team,
        after: query.after,
        data_type: query.data_type,
        id: query.id.map(ExternalId::from),
        limit: limit + 1,
    };
    let mut rows = api.ports.reads.changes(&ask).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_after = rows.last().map_or(query.after, |row| row.id);
    Ok(Answer(ChangeList { items: rows.into_iter().map(Into::into).collect(), next_after, more }))
}
