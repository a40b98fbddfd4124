//! Answers that are none.

use tokio::net::TcpListener;
use vz_sync::simulator::Fault;

use crate::support::trouble::{Meets, Trouble};

fn status(code: u16, retry_after: Option<u64>) -> Fault {
    Fault::Status { code, retry_after }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests() {
    let fault = status(429, Some(3));
    Trouble::of(&fault).meets(Meets::Patience).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_with_a_time_to_come_back() {
    let fault = status(503, Some(3));
    Trouble::of(&fault).meets(Meets::Patience).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_error() {
    Trouble::of(&status(502, None)).meets(Meets::Failure("retryable http_502")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_html_with_200() {
    Trouble::of(&Fault::Html).meets(Meets::Failure("retryable html")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_other_than_0_with_200() {
    let fault = Fault::Result { code: 99, error: Some("internal".into()) };
    Trouble::of(&fault).meets(Meets::Failure("retryable result_99")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_inside_a_success() {
    Trouble::of(&Fault::Nested { code: 4099 }).meets(Meets::Failure("retryable result_4099")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_infos() {
    Trouble::of(&Fault::InfosMissing).meets(Meets::End("invalid infos_missing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn infos_that_are_null() {
    Trouble::of(&Fault::InfosNull).meets(Meets::End("invalid infos_missing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn infos_of_another_type() {
    Trouble::of(&Fault::InfosType).meets(Meets::End("invalid infos_missing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_ends_too_soon() {
    let fault = Fault::Truncate { bytes: 9000, clean: true };
    Trouble::of(&fault).meets(Meets::Doubt("retryable truncated")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_ends_before_anything_was_said() {
    let fault = Fault::Truncate { bytes: 20, clean: true };
    Trouble::of(&fault).meets(Meets::Failure("retryable truncated")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_in_the_body() {
    let fault = Fault::Truncate { bytes: 9000, clean: false };
    Trouble::of(&fault).meets(Meets::Doubt("retryable truncated")).await;
}

/// The form carries the session key: it must not go where the platform points to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_host() {
    let elsewhere = TcpListener::bind(("127.0.0.2", 0)).await.expect("a port");
    let location = format!("http://{}/", elsewhere.local_addr().expect("an address"));
    let scene = Trouble::of(&Fault::Redirect { location })
        .strikes(Meets::Failure("retryable redirect"))
        .await;
    assert_eq!(scene.world.served().await, scene.before, "good rows stay");
    scene.recovers().await;
    let followed = std::pin::pin!(elsewhere.accept());
    assert!(futures_util::poll!(followed).is_pending(), "nobody went there");
}
