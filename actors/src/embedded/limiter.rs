//! The rate limit: governor's GCRA per platform and per team, on tokio's clock.
//!
//! A request needs a token of both. governor alone would spend the platform's
//! token and then find the team's missing, so its state store is ours: it can
//! be asked without spending, and it lets a bucket start empty.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::locked;
use crate::domain::{PlatformId, TeamId};
use crate::ports::limiter::{Limiter, RateWait};

/// When a stopped limiter should be asked again: the period of the heartbeat
/// that may start it.
const STOPPED_RETRY: Duration = Duration::from_secs(5);

/// Limits of the whole installation, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Of each platform; `None` is no limit.
    pub platform: Option<f64>,
    /// Of each team; `None` is no limit.
    pub team: Option<f64>,
    /// Requests that may follow each other at once after a pause. 1 keeps
    /// every window within its limit.
    pub burst: NonZeroU32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { platform: Some(10.0), team: Some(2.0), burst: NonZeroU32::MIN }
    }
}

/// Grants requests of one replica.
pub struct EmbeddedLimiter {
    rates: Rates,
    share: Mutex<Share>,
}

/// What the replica may spend at present.
struct Share {
    live_replicas: u32,
    until: Instant,
    platforms: Buckets<PlatformId>,
    teams: Buckets<TeamId>,
}

impl EmbeddedLimiter {
    /// Grants nothing until it has a share.
    pub fn new(rates: Rates) -> Self {
        Self { rates, share: Mutex::new(Share::new(rates, 0, Instant::now())) }
    }

    /// Takes one token of each bucket, or none and says how long to wait.
    fn try_take(&self, platform: PlatformId, team: TeamId) -> Result<(), Wait> {
        let share = locked(&self.share);
        if !share.is_lent() {
            return Err(Wait::Stopped);
        }
        let wait = share.platforms.wait(&platform).max(share.teams.wait(&team));
        if !wait.is_zero() {
            return Err(Wait::For(wait));
        }
        share.platforms.spend(&platform);
        share.teams.spend(&team);
        Ok(())
    }
}

enum Wait {
    For(Duration),
    Stopped,
}

#[async_trait]
impl Limiter for EmbeddedLimiter {
    async fn acquire(
        &self,
        platform: PlatformId,
        team: TeamId,
        max_wait: Duration,
    ) -> Result<(), RateWait> {
        let give_up_at = Instant::now() + max_wait;
        loop {
            match self.try_take(platform, team) {
                Ok(()) => return Ok(()),
                Err(Wait::Stopped) => return Err(RateWait { retry_in: STOPPED_RETRY }),
                Err(Wait::For(wait)) if Instant::now() + wait > give_up_at => {
                    return Err(RateWait { retry_in: wait });
                }
                Err(Wait::For(wait)) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn share(&self, live_replicas: u32, until: Instant) {
        let mut share = locked(&self.share);
        if share.live_replicas == live_replicas && share.is_lent() {
            share.until = until;
        } else {
            *share = Share::new(self.rates, live_replicas, until);
        }
    }
}

impl Share {
    fn new(rates: Rates, live_replicas: u32, until: Instant) -> Self {
        Self {
            live_replicas,
            until,
            platforms: Buckets::new(rates.platform, rates.burst, live_replicas),
            teams: Buckets::new(rates.team, rates.burst, live_replicas),
        }
    }

    fn is_lent(&self) -> bool {
        self.live_replicas > 0 && Instant::now() < self.until
    }
}

type Keyed<K> = RateLimiter<K, Store<K>, TokioClock, NoOpMiddleware<Moment>>;

/// Buckets of one kind; none at all when there is no limit.
struct Buckets<K: Hash + Eq + Clone> {
    limiter: Option<Keyed<K>>,
    spending: Arc<AtomicBool>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Option<f64>, burst: NonZeroU32, live_replicas: u32) -> Self {
        let spending = Arc::new(AtomicBool::new(false));
        let limiter = rate.and_then(|rate| {
            let period =
                Duration::try_from_secs_f64(f64::from(live_replicas.max(1)) / rate).ok()?;
            let quota = Quota::with_period(period)?.allow_burst(burst);
            let store = Store {
                arrivals: Mutex::new(HashMap::new()),
                empty: Nanos::from(period) * u64::from(burst.get()),
                spending: Arc::clone(&spending),
            };
            Some(RateLimiter::new(quota, store, TokioClock))
        });
        Self { limiter, spending }
    }

    /// Time until a token may be had; zero when one is there.
    fn wait(&self, key: &K) -> Duration {
        self.check(key, false)
    }

    fn spend(&self, key: &K) {
        self.check(key, true);
    }

    fn check(&self, key: &K, spending: bool) -> Duration {
        let Some(limiter) = &self.limiter else { return Duration::ZERO };
        self.spending.store(spending, Ordering::Relaxed);
        match limiter.check_key(key) {
            Ok(()) => Duration::ZERO,
            // A zero here would spin: the bucket refused, so some time must pass.
            Err(refused) => refused.wait_time_from(TokioClock.now()).max(Duration::from_nanos(1)),
        }
    }
}

/// governor's state, guarded by the mutex around [`Share`].
struct Store<K> {
    arrivals: Mutex<HashMap<K, Nanos>>,
    /// Theoretical arrival of a bucket that was empty when the share began. A
    /// team that appears later finds it in the past: its bucket has filled.
    empty: Nanos,
    spending: Arc<AtomicBool>,
}

impl<K: Hash + Eq + Clone> StateStore for Store<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut arrivals = locked(&self.arrivals);
        let (outcome, next) = f(Some(arrivals.get(key).copied().unwrap_or(self.empty)))?;
        if self.spending.load(Ordering::Relaxed) {
            arrivals.insert(key.clone(), next);
        }
        Ok(outcome)
    }
}

/// tokio's monotonic clock as governor wants it.
#[derive(Debug, Clone, Copy)]
struct TokioClock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl Clock for TokioClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PlatformId = PlatformId(1);
    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn limiter(platform: f64, team: f64, burst: u32) -> EmbeddedLimiter {
        let burst = NonZeroU32::new(burst).unwrap();
        lent(Rates { platform: Some(platform), team: Some(team), burst })
    }

    fn lent(rates: Rates) -> EmbeddedLimiter {
        let limiter = EmbeddedLimiter::new(rates);
        limiter.share(1, Instant::now() + HOUR);
        limiter
    }

    async fn granted_in(limiter: &EmbeddedLimiter, team: TeamId, period: Duration) -> u32 {
        let end = Instant::now() + period;
        let mut granted = 0;
        while limiter.acquire(P, team, end - Instant::now()).await.is_ok() {
            granted += 1;
        }
        granted
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrower_limit_rules_and_the_share_divides_it() {
        let limiter = limiter(10.0, 2.0, 1);
        assert_eq!(granted_in(&limiter, TeamId(1), Duration::from_secs(10)).await, 20);
        limiter.share(4, Instant::now() + HOUR);
        assert_eq!(granted_in(&limiter, TeamId(1), Duration::from_secs(10)).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_limit_holds_for_all_teams_together() {
        let limiter = limiter(10.0, 2.0, 1);
        let all = (1..=20).map(|team| granted_in(&limiter, TeamId(team), MINUTE));
        let granted: u32 = futures_util::future::join_all(all).await.into_iter().sum();
        // Timers round up to a millisecond, so a few slots pass unused.
        assert!((590..=600).contains(&granted), "{granted}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_share_starts_empty_and_an_equal_one_changes_nothing() {
        let limiter = limiter(1.0, 1.0, 5);
        tokio::time::advance(MINUTE).await;
        limiter.share(1, Instant::now() + HOUR);
        for _ in 0..5 {
            limiter.acquire(P, TeamId(1), Duration::ZERO).await.expect("the bucket had filled");
        }
        tokio::time::advance(MINUTE).await;
        limiter.share(2, Instant::now() + HOUR);
        let refused = limiter.acquire(P, TeamId(1), Duration::ZERO).await;
        assert_eq!(refused, Err(RateWait { retry_in: Duration::from_secs(2) }));
    }

    #[tokio::test(start_paused = true)]
    async fn no_share_stops_everything() {
        let limiter = limiter(1000.0, 1000.0, 100);
        limiter.share(0, Instant::now() + HOUR);
        tokio::time::advance(MINUTE).await;
        assert!(limiter.acquire(P, TeamId(1), MINUTE).await.is_err());
        limiter.share(1, Instant::now() + HOUR);
        assert!(limiter.acquire(P, TeamId(1), MINUTE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_ends_by_itself_and_the_next_starts_empty() {
        let limiter = limiter(1.0, 1.0, 5);
        limiter.share(1, Instant::now() + MINUTE);
        tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
        limiter.acquire(P, TeamId(1), Duration::ZERO).await.expect("still lent");
        tokio::time::advance(Duration::from_millis(1)).await;
        let refused = limiter.acquire(P, TeamId(1), MINUTE).await;
        assert_eq!(refused, Err(RateWait { retry_in: STOPPED_RETRY }));
        limiter.share(1, Instant::now() + MINUTE);
        let refused = limiter.acquire(P, TeamId(1), Duration::ZERO).await;
        assert_eq!(refused, Err(RateWait { retry_in: Duration::from_secs(1) }));
        // Who waits for its turn does not outlast the share either.
        limiter.share(1, Instant::now() + Duration::from_millis(500));
        assert!(limiter.acquire(P, TeamId(1), MINUTE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_takes_nothing() {
        let limiter = limiter(1.0, 0.1, 1);
        tokio::time::advance(MINUTE).await;
        limiter.acquire(P, TeamId(1), Duration::ZERO).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        // The team has no token left; the platform's must stay for the other team.
        limiter.acquire(P, TeamId(1), Duration::ZERO).await.unwrap_err();
        limiter.acquire(P, TeamId(2), Duration::ZERO).await.expect("the platform's token is there");
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_never_waits() {
        let rates = Rates { platform: None, team: None, ..Rates::default() };
        let limiter = lent(rates);
        for _ in 0..10_000 {
            limiter.acquire(P, TeamId(1), Duration::ZERO).await.unwrap();
        }
    }
}
