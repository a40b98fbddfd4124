//! The public routes. Every one is added here with its description, so the
//! document and the router cannot differ.

pub mod changes;
pub mod credentials;
pub mod events;
pub mod explain;
pub mod item;
pub mod items;
pub mod list_query;
pub mod removals;
pub mod sync;
pub mod teams;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::ApiState;

/// Routes that answer at once.
pub fn answering() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(teams::list))
        .routes(routes!(sync::trigger, sync::status))
        .routes(routes!(sync::jobs))
        .routes(routes!(sync::job))
        .routes(routes!(sync::pause))
        .routes(routes!(sync::resume))
        .routes(routes!(explain::explain))
        .routes(routes!(removals::list))
        .routes(routes!(removals::release))
        .routes(routes!(removals::reject))
        .routes(routes!(credentials::put, credentials::delete))
        .routes(routes!(items::environments))
        .routes(routes!(items::nodes))
        .routes(routes!(items::archived_sites))
        .routes(routes!(items::job_logs))
        .routes(routes!(item::environment))
        .routes(routes!(item::node))
        .routes(routes!(item::archived_site))
        .routes(routes!(item::job_log))
        .routes(routes!(changes::list))
}

/// Routes whose answer does not end by itself.
pub fn streaming() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(events::stream))
}
