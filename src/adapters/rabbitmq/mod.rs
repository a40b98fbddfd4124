//! The RabbitMQ adapters: the job bus and the event bus.
//!
//! One process holds two connections, one to publish and one to consume: an
//! alarm of the broker stops everything that publishes, acknowledgements on
//! the same connection included. Each is made anew when it breaks, and the
//! topology is asserted each time.
//!
//! lapin's own recovery is deliberately off: it replays what one process once
//! declared, while the topology here is a constant that is asserted (decision
//! 015 in `docs/architecture`).

mod address;
mod consumer;
mod counters;
mod dead_letters;
pub mod doctor;
mod error;
mod event_bus;
mod job_bus;
mod link;
mod message;
mod options;
mod publisher;
mod rabbit;
pub mod topology;
mod wire;

pub use counters::RabbitCounts;
pub use dead_letters::DeadLetter;
pub use event_bus::RabbitEventBus;
pub use job_bus::RabbitJobBus;
pub use link::LinkStatus;
pub use options::{ClientCertificate, RabbitOptions, TlsOptions};
pub use publisher::{Fate, Letter, Publisher};
pub use rabbit::{Rabbit, RabbitStatus};

/// How this service is named in errors.
const SERVICE: &str = "rabbitmq";
