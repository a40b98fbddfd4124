//! A platform that is not there, or does not speak.

use vz_sync::simulator::{Door, Fault, HangAt};

use crate::support::trouble::{Meets, Trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused() {
    Trouble::at(Door::Refuse).meets(Meets::Failure("retryable connect")).await;
}

/// Past so many failures in a row nobody asks any more, but for one probe now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused_for_long() {
    Trouble::at(Door::Refuse)
        .with("VZ_SYNC_PLATFORM__CIRCUIT_FAILURES", "1")
        .with("VZ_SYNC_PLATFORM__CIRCUIT_OPEN_SECONDS", "3600")
        .meets(Meets::OpenCircuit)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hangs_at_connect() {
    Trouble::at(Door::Hang).meets(Meets::Failure("retryable connect_timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hangs_before_the_header() {
    let fault = Fault::Hang { at: HangAt::Headers };
    Trouble::of(&fault).meets(Meets::Failure("retryable timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hangs_in_the_body() {
    let fault = Fault::Hang { at: HangAt::Body };
    Trouble::of(&fault).meets(Meets::Doubt("retryable truncated")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_drips() {
    let fault = Fault::SlowDrip { bytes: 1, interval_ms: 20 };
    Trouble::of(&fault)
        .with("VZ_SYNC_TIMEOUTS__RUN_SECONDS", "2")
        .meets(Meets::Failure("retryable run_timeout"))
        .await;
}
