//! Keeps a lease while its run works, and says when it may no longer be
//! trusted.
//!
//! Trust is counted on our own monotonic clock from the moment *before* the
//! lease was asked for, less a margin, so that we stop before the store may
//! give the lease to somebody else. The fence makes a mistake here harmless;
//! this only saves work.

use tokio::time::Instant;
use tracing::warn;

use super::guard::LOCK_TIMEOUT;
use super::stop::Stopper;
use crate::parts::Parts;
use crate::ports::store::Lease;

/// Why a lease is no longer trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrustEnd {
    /// The store says it is another run's, or cancelled.
    Lost,
    /// It could not be renewed in time.
    RanOut,
}

/// Renews until trust ends, at once when it is doubted; never returns before.
pub(super) async fn keep(parts: &Parts, lease: &Lease, stopper: &Stopper) -> TrustEnd {
    let settings = &parts.settings;
    let (ttl, margin) = (settings.lease_ttl, settings.lease_margin);
    let mut trusted_until = lease.asked_at + ttl.saturating_sub(margin);
    let mut next = lease.asked_at + ttl / 3;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next.min(trusted_until)) => {}
            () = stopper.doubted() => {}
        }
        if Instant::now() >= trusted_until {
            return TrustEnd::RanOut;
        }
        let asked_at = Instant::now();
        let renew = parts.ports.store.renew(&lease.name, ttl);
        match tokio::time::timeout_at(trusted_until, renew).await {
            Ok(Ok(true)) => {
                trusted_until = asked_at + ttl.saturating_sub(margin);
                next = asked_at + ttl / 3;
                let lock = parts.ports.lock.renew(lease.name.key, lease.name.run, ttl);
                let _ = tokio::time::timeout(LOCK_TIMEOUT, lock).await;
            }
            Ok(Ok(false)) => return TrustEnd::Lost,
            Ok(Err(error)) => {
                warn!(event = "vz_sync_renew_failed", team_id = lease.name.key.team.0, scope = lease.name.key.scope.as_str(), error = %error, "lease not renewed, trying again");
                next = Instant::now() + ttl / 12;
            }
            Err(_) => return TrustEnd::RanOut,
        }
    }
}
