//! The one place that sends requests to a platform.
//!
//! It owns the connection pools, the order of limiter and gates before a request, the deadlines
//! around it, and the report of what came back. The session travels in the form body; there is no
//! way to put anything into a URL from here.
//!
//! Deliberately absent: retries, but for one: a pooled connection that the other side closed while
//! it was idle says nothing about the platform.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, Url};
use secrecy::ExposeSecret;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout, timeout_at};
use vz_sync_actors::domain::{Failure, PlatformId, ReplicaId};
use vz_sync_actors::ports::credentials::Access;
use vz_sync_actors::ports::limiter::Limiter;
use vz_sync_actors::ports::platforms::Platforms;

use super::errors;
use super::fresh::{self, MarkFresh};
use super::gates::{GateState, Gates};
use super::options::VirtuozzoOptions;
use super::ssrf::GuardedResolver;

/// Bytes of an error page that are looked at.
const ERROR_BODY: usize = 64 * 1024;
/// A platform's front closes idle connections after about a minute.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);

/// A method of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method {
    /// Its last path segment, for texts and tags.
    pub(super) name: &'static str,
    /// Its path.
    pub(super) path: &'static str,
}

macro_rules! method {
    ($const:ident, $service:literal, $name:literal) => {
        pub(super) const $const: Method =
            Method { name: $name, path: concat!("/1.0/", $service, "/rest/", $name) };
    };
}
method!(GET_USER_INFO, "users/account", "getuserinfo");
method!(GET_BASIC_ENVS_INFO, "environment/control", "getbasicenvsinfo");
method!(GET_ENVS, "environment/control", "getenvs");
method!(GET_ENV_INFO, "environment/control", "getenvinfo");
method!(SEARCH_ACTIONS, "environment/tracking", "searchactions");
method!(GET_CURRENT_ACTIONS, "environment/tracking", "getcurrentactions");

/// One request's end, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSeen {
    /// The platform.
    pub platform: PlatformId,
    /// The method's name, e.g. `getbasicenvsinfo`.
    pub method: &'static str,
    /// `ok`, or the class of the failure. `ok` means a head with a success status.
    pub class: &'static str,
    /// From sending to the answer's head.
    pub took: Duration,
}

/// Told of every request.
pub type Observer = Arc<dyn Fn(RequestSeen) + Send + Sync>;

/// What the client needs from the rest of the service.
#[derive(Clone)]
pub struct Surroundings {
    /// Grants requests.
    pub limiter: Arc<dyn Limiter>,
    /// Hears of failures, answers and throttling, and lends the probe slot.
    pub platforms: Arc<dyn Platforms>,
    /// The gates as of the last look; the caller refreshes them.
    pub gates: Arc<Gates>,
    /// In whose name probes are taken.
    pub replica: ReplicaId,
    /// Told of every request, for metrics.
    pub observer: Option<Observer>,
}

pub(super) struct Client {
    http: reqwest::Client,
    pub(super) options: VirtuozzoOptions,
    around: Surroundings,
}

/// An answer whose status is a success and whose body is still to come.
pub(super) struct Answer {
    response: Response,
    method: Method,
    /// When the request was sent.
    pub(super) sent_at: Instant,
    deadline: Instant,
    between_chunks: Duration,
    left: u64,
}

impl Client {
    pub(super) fn new(
        options: VirtuozzoOptions,
        around: Surroundings,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(options.user_agent.clone())
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .https_only(!options.addresses.allow_loopback_http)
            .dns_resolver(GuardedResolver(options.addresses.clone()))
            .connector_layer(MarkFresh)
            .connect_timeout(options.connect)
            .pool_idle_timeout(IDLE_CONNECTION)
            .gzip(true)
            .build()
            .map_err(reqwest::Error::without_url)?;
        Ok(Self { http, options, around })
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        access: &Access,
        method: Method,
        form: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let url = self.url(access, method)?;
        let mut body = Vec::with_capacity(form.len() + 1);
        body.push(("session", access.session.expose_secret()));
        body.extend_from_slice(form);

        self.may_send(access, method).await?;
        let (mut sent_at, mut sent, fresh) = self.attempt(&url, &body).await;
        if !fresh && matches!(&sent, Ok(Err(error)) if errors::closed_by_peer(error)) {
            self.may_send(access, method).await?;
            (sent_at, sent, _) = self.attempt(&url, &body).await;
        }
        drop(body);
        let result = match sent {
            Ok(Ok(response)) => self.head(access, method, response, sent_at).await,
            Ok(Err(error)) => Err(errors::before_answer(error, method.name)),
            Err(_) => Err(errors::unanswered("timeout", method.name, "got no answer in time")),
        };
        self.report(access, method, sent_at, &result).await;
        result
    }

    fn url(&self, access: &Access, method: Method) -> Result<Url, Failure> {
        let base = self.options.addresses.check(&access.base_url);
        let mut url = base.map_err(|refused| {
            errors::invalid("platform_url", method.name, &format!("was not sent: {refused}"))
        })?;
        url.set_path(method.path);
        Ok(url)
    }

    /// One try: when it was sent, what came, and whether it went over a new connection.
    async fn attempt(
        &self,
        url: &Url,
        body: &[(&str, &str)],
    ) -> (Instant, Result<reqwest::Result<Response>, tokio::time::error::Elapsed>, bool) {
        let request = self.http.post(url.clone()).form(body);
        let sent_at = Instant::now();
        // The head's deadline starts with the connection's.
        let deadline = self.options.connect + self.options.first_byte;
        let (sent, fresh) = fresh::watch(timeout(deadline, request.send())).await;
        (sent_at, sent, fresh)
    }

    /// Gate first: what it refuses shall cost no token.
    async fn may_send(&self, access: &Access, method: Method) -> Result<(), Failure> {
        let platform = access.platform;
        let gates = &self.around.gates;
        match gates.state(platform) {
            GateState::Open => {}
            GateState::Throttled { retry_in } => {
                let what = "was not sent: the platform asked for patience";
                return Err(errors::throttled("platform_throttled", method.name, what, retry_in));
            }
            GateState::CircuitOpen => {
                let probe = gates.may_probe(platform)
                    && self.around.platforms.take_probe(platform, self.around.replica).await
                        == Ok(true);
                if !probe {
                    let what = "was not sent: the platform's circuit is open";
                    let wait = self.options.circuit_open_for;
                    return Err(errors::throttled("circuit_open", method.name, what, wait));
                }
            }
        }
        let leave =
            self.around.limiter.acquire(platform, access.team, self.options.limiter_wait).await;
        leave.map_err(|wait| {
            let what = "was not sent: the rate limit has no room";
            errors::throttled("rate_limit", method.name, what, wait.retry_in)
        })
    }

    async fn head(
        &self,
        access: &Access,
        method: Method,
        response: Response,
        sent_at: Instant,
    ) -> Result<Answer, Failure> {
        self.answered(access.platform).await;
        let mut answer = Answer {
            response,
            method,
            sent_at,
            deadline: sent_at + self.options.total,
            between_chunks: self.options.between_chunks,
            left: self.options.max_body,
        };
        let status = answer.response.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.beginning(ERROR_BODY).await;
        let patience = self.options.default_patience;
        let headers = answer.response.headers();
        Err(errors::status(status, headers, &body, method.name, &self.options.codes, patience))
    }

    async fn answered(&self, platform: PlatformId) {
        if self.around.gates.answered(platform)
            && let Err(error) = self.around.platforms.answered(platform).await
        {
            tracing::warn!(%platform, %error, "an answer could not be reported to the platforms");
        }
    }

    async fn report(
        &self,
        access: &Access,
        method: Method,
        sent_at: Instant,
        result: &Result<Answer, Failure>,
    ) {
        let platform = access.platform;
        if let Some(observer) = &self.around.observer {
            let class = result.as_ref().err().map_or("ok", |failure| failure.class.as_str());
            let took = sent_at.elapsed();
            observer(RequestSeen { platform, method: method.name, class, took });
        }
        let Err(failure) = result else { return };
        if failure.connection_level {
            let (threshold, open_for) =
                (self.options.circuit_threshold, self.options.circuit_open_for);
            let told = self.around.platforms.connection_failed(platform, threshold, open_for).await;
            if let Err(error) = &told {
                tracing::warn!(%platform, %error, "a failure could not be reported to the platforms");
            }
            self.around.gates.failed(platform, told.unwrap_or(false));
        }
        if let Some(wait) = failure.retry_after {
            self.around.gates.throttle(platform, wait);
            if let Err(error) = self.around.platforms.throttled(platform, wait).await {
                tracing::warn!(%platform, %error, "a 429 could not be reported to the platforms");
            }
        }
    }
}

/// Why a body brought no more.
#[derive(Debug)]
pub(super) enum BodyEnd {
    /// The connection broke, or the coding is wrong, or it stalled.
    Broken(Failure),
    /// More came than is taken.
    TooLong,
}

impl Answer {
    /// The next piece of the body, decoded; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyEnd> {
        let name = self.method.name;
        // Not reqwest's read_timeout: that one also runs while the platform thinks.
        let until = self.deadline.min(Instant::now() + self.between_chunks);
        let chunk = match timeout_at(until, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(BodyEnd::Broken(errors::within_body(error, name))),
            Err(_) => return Err(BodyEnd::Broken(errors::stalled(name))),
        };
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self.left.checked_sub(length).ok_or(BodyEnd::TooLong)?;
        Ok(chunk)
    }

    /// The platform's own time, if the answer's head tells it.
    pub(super) fn clock(&self) -> Option<OffsetDateTime> {
        errors::clock(self.response.headers())
    }

    /// The whole body of a method whose answer is small.
    pub(super) async fn whole(mut self, most: usize) -> Result<Vec<u8>, Failure> {
        self.left = self.left.min(most as u64);
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(BodyEnd::Broken(failure)) => return Err(failure),
                Err(BodyEnd::TooLong) => {
                    let what = "was answered with more than is taken";
                    return Err(errors::invalid("too_long", self.method.name, what));
                }
            }
        }
    }

    /// As much of an error's body as there is and as is worth looking at.
    async fn beginning(&mut self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < most
            && let Ok(Some(chunk)) = self.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
        }
        body
    }
}
