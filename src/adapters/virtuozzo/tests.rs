//! The client against a server that misbehaves on order.

mod listings;
mod server;
mod simulated;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{SecretSlice, SecretString};
use uuid::Uuid;
use vz_sync_actors::domain::item::Element;
use vz_sync_actors::domain::{Baseline, Failure, FailureClass, PlatformId, ReplicaId, TeamId};
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::credentials::Access;
use vz_sync_actors::ports::limiter::{Limiter, RateWait};
use vz_sync_actors::ports::platform::{ElementSink, Listing, Platform, PlatformResult};
use vz_sync_actors::ports::platforms::{PlatformGate, Platforms};

use super::{AddressPolicy, Gates, RequestSeen, Surroundings, VirtuozzoOptions, VirtuozzoPlatform};
use server::Server;

/// The session of every test; it may stand in a request body and nowhere else.
const CANARY: &str = "canary0session0key";
const OWNER: i64 = 4784;
const P: PlatformId = PlatformId(7);

const BASIC: &str = include_str!("../../../tests/fixtures/virtuozzo/getbasicenvsinfo.derived.json");

/// A limiter and a platforms table that remember.
#[derive(Default)]
struct Around {
    acquired: AtomicU64,
    full: AtomicBool,
    probe: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl Around {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().expect("no panics inside").push(what.into());
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().expect("no panics inside").clone()
    }
}

#[async_trait]
impl Limiter for Around {
    async fn acquire(&self, _: PlatformId, _: TeamId, _: Duration) -> Result<(), RateWait> {
        self.acquired.fetch_add(1, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            return Err(RateWait { retry_in: Duration::from_secs(3) });
        }
        Ok(())
    }

    fn share(&self, _: u32, _: tokio::time::Instant) {}
}

#[async_trait]
impl Platforms for Around {
    async fn gates(&self) -> PortResult<Vec<PlatformGate>> {
        Ok(Vec::new())
    }

    async fn connection_failed(&self, _: PlatformId, at: u32, _: Duration) -> PortResult<bool> {
        self.tell(format!("failed, threshold {at}"));
        Ok(false)
    }

    async fn answered(&self, _: PlatformId) -> PortResult<()> {
        self.tell("answered");
        Ok(())
    }

    async fn throttled(&self, _: PlatformId, wait: Duration) -> PortResult<()> {
        self.tell(format!("throttled {}", wait.as_secs()));
        Ok(())
    }

    async fn take_probe(&self, _: PlatformId, _: ReplicaId) -> PortResult<bool> {
        self.tell("probe");
        Ok(self.probe.load(Ordering::SeqCst))
    }
}

/// A client, its server and what it told the world.
struct Bench {
    server: Server,
    platform: VirtuozzoPlatform,
    around: Arc<Around>,
    gates: Arc<Gates>,
    seen: Arc<Mutex<Vec<RequestSeen>>>,
    access: Access,
}

fn access(base_url: String) -> Access {
    Access {
        platform: P,
        base_url,
        team: TeamId(1),
        owner_uid: Some(OWNER),
        session: SecretString::from(CANARY),
    }
}

impl Bench {
    fn new(server: Server) -> Self {
        Self::with(server, |_| {})
    }

    /// Deadlines are short: what these tests wait for never comes.
    fn with(server: Server, set: impl FnOnce(&mut VirtuozzoOptions)) -> Self {
        let mut options = VirtuozzoOptions {
            addresses: AddressPolicy { allow_loopback_http: true, ..AddressPolicy::default() },
            ..VirtuozzoOptions::default()
        };
        set(&mut options);
        let around = Arc::new(Around::default());
        let gates = Arc::new(Gates::default());
        let seen = Arc::<Mutex<Vec<RequestSeen>>>::default();
        let log = Arc::clone(&seen);
        let surroundings = Surroundings {
            limiter: Arc::clone(&around) as _,
            platforms: Arc::clone(&around) as _,
            gates: Arc::clone(&gates),
            replica: ReplicaId(Uuid::nil()),
            observer: Some(Arc::new(move |end| log.lock().expect("no panics").push(end))),
        };
        let key = SecretSlice::from(b"an installation's key".to_vec());
        let platform = VirtuozzoPlatform::new(options, surroundings, &key).expect("a client");
        let access = access(server.url());
        Self { server, platform, around, gates, seen, access }
    }

    async fn listing(&self) -> (PlatformResult<Listing>, Vec<Element>) {
        let mut sink = Collect(Vec::new());
        let baseline = Baseline::default();
        let listing = self.platform.environments(&self.access, &baseline, &mut sink).await;
        if let Err(failure) = &listing {
            keeps_the_secret(failure);
        }
        // Wherever a session travels, it is not the request line or a header.
        for request in self.server.requests() {
            assert!(!request.head.contains(CANARY), "{}", request.head);
            assert!(request.body.contains(CANARY));
        }
        (listing, sink.0)
    }

    async fn failure(&self) -> Failure {
        let (listing, _) = self.listing().await;
        listing.expect_err("it fails")
    }
}

fn keeps_the_secret(failure: &Failure) {
    let text = format!("{failure} {failure:?}");
    assert!(!text.contains(CANARY) && !text.contains("127.0.0.1"), "{text}");
}

struct Collect(Vec<Element>);

#[async_trait]
impl ElementSink for Collect {
    async fn accept(&mut self, batch: Vec<Element>) -> PlatformResult<()> {
        assert!(!batch.is_empty());
        self.0.extend(batch);
        Ok(())
    }
}

fn class_and_code(failure: &Failure) -> (FailureClass, &str) {
    (failure.class, failure.code.as_str())
}
