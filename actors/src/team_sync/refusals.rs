//! What a key may not do, as runs learn it and do without it (SPEC section 5).

use super::environments::Sink;
use super::run::{Run, WorkError};
use crate::domain::{Baseline, Capability, Class, Failure, FailureClass, Refused};
use crate::ports::platform::{Listing, ListingMethod, PlatformResult};

/// Whether the key is refused this one method, which says nothing of the others.
pub(super) fn is_refusal(failure: &Failure) -> bool {
    failure.class == FailureClass::Capability
}

impl Run {
    /// Whether asking is not worth a request. A person who asks may just have
    /// changed the token, and gets an answer of the platform.
    pub(super) fn does_without(&self, refused: &Refused, capability: Capability) -> bool {
        self.lease.class != Class::Manual
            && refused.lately(capability, self.database_now(), self.lease.intervals.full)
    }

    /// Keeps in mind what an answer says of the key.
    pub(super) fn learn<T>(
        &self,
        refused: &mut Refused,
        capability: Capability,
        answer: &PlatformResult<T>,
    ) {
        match answer {
            Ok(_) => refused.clear(capability),
            Err(failure) if is_refusal(failure) => refused.note(capability, self.database_now()),
            Err(_) => {}
        }
    }

    /// Reads the complete listing by the method that the key is allowed. One
    /// that may list nothing is no key for a mirror, whatever else it may do.
    pub(super) async fn listing(
        &self,
        baseline: &Baseline,
        sink: &mut Sink<'_>,
        refused: &mut Refused,
    ) -> Result<Listing, WorkError> {
        let mut methods = [
            (ListingMethod::Basic, Capability::GetBasicEnvsInfo),
            (ListingMethod::Whole, Capability::GetEnvs),
        ];
        if self.does_without(refused, Capability::GetBasicEnvsInfo) {
            methods.reverse();
        }
        for (method, capability) in methods {
            let platform = &self.parts.ports.platform;
            let answer = loop {
                // Our own limiter refuses before anything is sent: the sink is fresh.
                let answer = platform.environments(&self.access, method, baseline, sink).await;
                if !self.must_wait(&answer).await {
                    break answer;
                }
            };
            self.learn(refused, capability, &answer);
            match answer {
                Err(failure) if is_refusal(&failure) => {}
                answer => return Ok(answer?),
            }
        }
        let message = "the platform refuses every listing method to the key: \
                       give its token getbasicenvsinfo or getenvs";
        Err(Failure::new(FailureClass::Auth, "listing_refused", message).into())
    }
}
