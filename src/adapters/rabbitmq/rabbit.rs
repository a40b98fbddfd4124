//! What both buses share: the connections, the pools, the counters.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use vz_sync_actors::ports::{PortError, PortResult};

use super::address::Address;
use super::counters::{Counters, RabbitCounts};
use super::error::unavailable;
use super::link::{Link, LinkStatus, Purpose};
use super::options::RabbitOptions;
use super::publisher::Publisher;
use super::{RabbitEventBus, RabbitJobBus, topology};

/// The broker of this process. Connections end with the last clone, buses and
/// their consumers included.
#[derive(Debug, Clone)]
pub struct Rabbit(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RabbitOptions,
    pub(super) publish: Link,
    pub(super) consume: Link,
    pub(super) jobs: Publisher,
    pub(super) events: Publisher,
    pub(super) counters: Arc<Counters>,
    /// When the topology was last asserted on demand.
    asserted: Mutex<Option<Instant>>,
}

/// How the connections stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RabbitStatus {
    /// Jobs and events leave over this one.
    pub publish: LinkStatus,
    /// Jobs and passing events arrive over this one.
    pub consume: LinkStatus,
}

impl RabbitStatus {
    /// Whether messages leave and arrive.
    pub fn is_well(&self) -> bool {
        self.publish == LinkStatus::Up && self.consume == LinkStatus::Up
    }
}

impl Rabbit {
    /// Connects. The URL is `amqp[s]://user:password@host[:port]/vhost`.
    ///
    /// A broker that cannot be reached is no error: attempts go on in the
    /// background, and calls fail as `Unavailable` until one succeeds.
    ///
    /// # Errors
    /// `Refused` for a URL that cannot be read, and for a broker that refuses
    /// the credentials, the vhost, a permission, or an exchange as ours.
    pub async fn open(url: &SecretString, options: RabbitOptions) -> PortResult<Self> {
        let address = Address::parse(url, options.heartbeat)?;
        let counters = Arc::new(Counters::default());
        let link =
            |purpose| Link::open(purpose, address.clone(), options.clone(), counters.clone());
        let (publish, consume) = (link(Purpose::Publish), link(Purpose::Consume));
        let pool =
            |channels| Publisher::new(publish.clone(), channels, options.publish, counters.clone());
        let shared = Shared {
            jobs: pool(options.job_channels),
            events: pool(options.event_channels),
            publish,
            consume,
            counters,
            asserted: Mutex::default(),
            options,
        };
        let (one, two) =
            tokio::join!(shared.publish.first_attempt(), shared.consume.first_attempt());
        for attempt in [one, two] {
            match attempt {
                Err(PortError::Unavailable { .. }) | Ok(()) => {}
                Err(error) => {
                    shared.close().await;
                    return Err(error);
                }
            }
        }
        Ok(Self(Arc::new(shared)))
    }

    /// The bus of the jobs.
    pub fn job_bus(&self) -> RabbitJobBus {
        RabbitJobBus::new(Arc::clone(&self.0))
    }

    /// The bus of the events.
    pub fn event_bus(&self) -> RabbitEventBus {
        RabbitEventBus::new(Arc::clone(&self.0))
    }

    /// The pool that publishes jobs, for whoever measures it.
    pub fn publisher(&self) -> &Publisher {
        &self.0.jobs
    }

    /// How the connections stand now.
    pub fn status(&self) -> RabbitStatus {
        RabbitStatus { publish: self.0.publish.status(), consume: self.0.consume.status() }
    }

    /// What was counted so far.
    pub fn counts(&self) -> RabbitCounts {
        self.0.counters.read()
    }

    /// Waits until both connections are up.
    pub async fn connected(&self) {
        tokio::join!(self.0.publish.up(), self.0.consume.up());
    }

    /// Closes the connections and waits for that, two seconds at most. What
    /// was not settled comes again, here or elsewhere.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl Shared {
    async fn close(&self) {
        tokio::join!(self.publish.close(), self.consume.close());
    }

    /// Asserts the topology unless that was done since `when`: many callers
    /// find the same binding gone at once.
    pub(super) async fn reassert(&self, when: Instant) -> PortResult<()> {
        let limit = self.options.topology;
        let late = |limit: Duration| unavailable(format!("the topology is asserted for {limit:?}"));
        let mut asserted = timeout(limit, self.asserted.lock()).await.map_err(|_| late(limit))?;
        if asserted.is_some_and(|last| last > when) {
            return Ok(());
        }
        // Not the publishing connection: an alarm would block it.
        let session = self.consume.session()?;
        let differences = topology::assert(&session.connection, limit).await?;
        topology::tell(&differences);
        *asserted = Some(Instant::now());
        self.counters.asserted.add();
        Ok(())
    }
}
