//! How a pool is set up and spoken to: settings, arguments, messages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::behaviour::Behaviour;
use super::mailbox::Message;
use super::restart::RestartPolicy;

/// What names a child: shown in its id, and ordered, so that a simulation repeats itself.
pub trait PoolKey: Ord + Clone + fmt::Display + Send + Sync + 'static {}
impl<K: Ord + Clone + fmt::Display + Send + Sync + 'static> PoolKey for K {}

/// Limits and times of a pool.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Messages that wait at one child before it refuses.
    pub mailbox_bound: usize,
    /// How a child is restarted.
    pub policy: RestartPolicy,
    /// A child with nothing to do for this long is stopped at the next sweep.
    pub idle_after: Duration,
    /// How often the pool looks for such children.
    pub sweep: Duration,
    /// Children alive at once; over it the longest idle one makes room, else the new one is
    /// refused.
    pub max_live: usize,
    /// How long a child may take to stop before it is killed.
    pub stop_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            mailbox_bound: 64,
            policy: RestartPolicy::default(),
            idle_after: Duration::from_mins(10),
            sweep: Duration::from_secs(30),
            max_live: 2000,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

type Factory<K, B> = Arc<dyn Fn(&K) -> <B as Behaviour>::Args + Send + Sync>;

/// All it takes to build a pool.
pub struct PoolArgs<K, B: Behaviour> {
    pub(super) factory: Factory<K, B>,
    pub(super) settings: PoolSettings,
}

impl<K, B: Behaviour> PoolArgs<K, B> {
    /// A pool whose children are made from `factory`.
    pub fn new(
        settings: PoolSettings,
        factory: impl Fn(&K) -> B::Args + Send + Sync + 'static,
    ) -> Self {
        Self { factory: Arc::new(factory), settings }
    }
}

impl<K, B: Behaviour> Clone for PoolArgs<K, B> {
    fn clone(&self) -> Self {
        Self { factory: self.factory.clone(), settings: self.settings.clone() }
    }
}

/// What a pool understands.
pub enum PoolMsg<K, M> {
    /// Forwards a message to the child of this key, starting it on first use.
    Route {
        /// The child.
        key: K,
        /// Its message.
        message: M,
    },
    /// Forwards a message to the child of this key if it runs; nothing is started for it.
    Tell {
        /// The child.
        key: K,
        /// Its message.
        message: M,
    },
    /// Stops the child of this key; the next message starts it again.
    Stop {
        /// The child.
        key: K,
    },
    /// Restarts the child of this key now and forgets its past exits.
    Restart {
        /// The child.
        key: K,
    },
    /// A timer of the pool itself.
    Tick(Tick<K>),
}

/// A timer of the pool; made by the pool only.
pub struct Tick<K>(pub(super) Option<K>);

impl<K: PoolKey, M: Message> Message for PoolMsg<K, M> {
    fn name(&self) -> &'static str {
        match self {
            Self::Route { .. } => "route",
            Self::Tell { .. } => "tell",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Tick(Tick(Some(_))) => "due",
            Self::Tick(Tick(None)) => "sweep",
        }
    }
    fn abandoned(&self) -> bool {
        matches!(self, Self::Route { message, .. } | Self::Tell { message, .. } if message.abandoned())
    }
}
