//! The Redis adapters: the due queue and the hint lock, over one pool.
//!
//! What stands in Redis is a hint: it may vanish or repeat at any time, and the
//! store repairs that. So nothing is replicated, fenced or waited for here;
//! what counts is that a call ends in time and says what it knows.
//!
//! Needs Redis 6.2 or newer, not in cluster mode: the scripts touch keys of
//! several slots.

mod connection;
pub mod due_queue;
mod error;
pub mod lock;
pub mod pool;
mod question;
pub mod server;

pub use due_queue::RedisDueQueue;
pub use lock::RedisLock;
pub use pool::{RedisOptions, RedisPool};
