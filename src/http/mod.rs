//! The public API and the admin listener.
//!
//! [`router::public`] and [`admin::router`] make the two routers, and
//! [`server`] serves them; both are on loopback unless configured otherwise.
//! A team's data is reached through [`extract::AuthorizedTeam`] alone. The
//! engine is asked through [`engine::Engine`], the mirror through its ports;
//! no adapter is known here.
//!
//! Deliberately absent: sessions and cookies, any write to a mirrored table,
//! and TLS, which is the business of whatever stands in front.

pub mod admin;
pub mod auth;
mod demand;
mod duration;
pub mod engine;
mod etag;
pub mod extract;
mod freshness;
mod handle;
pub mod layers;
pub mod metrics;
pub mod model;
pub mod openapi;
pub mod problem;
mod render;
pub mod router;
pub mod routes;
pub mod server;
mod slots;
pub mod sse;
mod stall;
pub mod state;

#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use metrics::Metrics;
pub use state::{ApiPorts, ApiSettings, ApiState};
