//! How many requests one run may plan for.
//!
//! Our own rate limit decides how many requests fit into a run's time. A run
//! that plans for more is stopped at its deadline and begins anew, for ever.

use std::time::Duration;

/// Details that a delta asks for whatever share of the team they are.
const ALWAYS_WORTH: usize = 20;
/// The share of its time that a run may fill with planned requests; the rest
/// is left to the team's other scopes, to slow answers and to the apply.
const FILLED: f64 = 0.5;

/// Requests that fit into a run: at this rate of the team (requests per second,
/// `None` without a limit), of which each live replica has an equal share.
pub fn requests_of_a_run(rate: Option<f64>, replicas: u32, run: Duration) -> usize {
    let Some(rate) = rate.filter(|rate| rate.is_finite()) else { return usize::MAX };
    let share = rate.max(0.0) / f64::from(replicas.max(1));
    // A float that does not fit saturates.
    (share * run.as_secs_f64() * FILLED) as usize
}

/// Most environments whose details a delta asks for one by one; past it the
/// full listing, a single request, is cheaper or the only one that ends.
/// `max_percent` is of the `listed` environments.
pub fn details_worth_asking(listed: usize, max_percent: u8, requests: usize) -> usize {
    let share = listed.saturating_mul(usize::from(max_percent)) / 100;
    share.max(ALWAYS_WORTH).min(requests)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: Duration = Duration::from_secs(150);

    #[test]
    fn a_run_plans_for_half_of_what_the_rate_allows() {
        assert_eq!(requests_of_a_run(Some(2.0), 1, RUN), 150);
        assert_eq!(requests_of_a_run(Some(2.0), 3, RUN), 50);
        assert_eq!(requests_of_a_run(Some(2.0), 0, RUN), 150, "before the first heartbeat");
        assert_eq!(requests_of_a_run(Some(-1.0), 1, RUN), 0);
        assert_eq!(requests_of_a_run(None, 3, RUN), usize::MAX);
    }

    #[test]
    fn a_delta_is_worth_a_small_share_that_a_run_can_ask_for() {
        assert_eq!(details_worth_asking(30, 5, 150), 20);
        assert_eq!(details_worth_asking(1_000, 5, 150), 50);
        assert_eq!(details_worth_asking(10_000, 5, 150), 150, "500 would never end");
        assert_eq!(details_worth_asking(30, 5, 15), 15, "not even twenty fit");
        assert_eq!(details_worth_asking(10_000, 5, usize::MAX), 500);
    }

    proptest! {
        #[test]
        fn what_is_planned_fits_into_the_run(
            listed in 0..1_000_000_usize, percent in 0..=100_u8, rate in 0.0..100.0_f64,
            replicas in 1..50_u32, run in 1..3_600_u64,
        ) {
            let run = Duration::from_secs(run);
            let requests = requests_of_a_run(Some(rate), replicas, run);
            let details = details_worth_asking(listed, percent, requests);
            let takes = details as f64 * f64::from(replicas) / rate.max(f64::MIN_POSITIVE);
            prop_assert!(details == 0 || takes <= run.as_secs_f64() / 2.0 + 1e-6);
        }
    }
}
