//! What goes out, and what becomes of answers that are none.

use tokio::time::Instant;
use vz_sync_actors::domain::FailureClass::{Auth, Invalid, Retryable, Throttled};
use vz_sync_actors::ports::platforms::Circuit;

use super::server::Reply;
use super::*;
use crate::adapters::virtuozzo::GateState;

const USER: &str = r#"{"result":0,"uid":4784,"email":"a@b","status":"ENABLED"}"#;

async fn bench(replies: impl IntoIterator<Item = Reply>) -> Bench {
    Bench::new(Server::start(replies).await)
}

#[tokio::test]
async fn a_request_is_a_form_and_its_url_holds_nothing() {
    let bench = bench([Reply::ok(BASIC)]).await;
    let (listing, elements) = bench.listing().await;
    assert!(listing.expect("a listing").completeness.is_complete());
    assert_eq!(elements.len(), 1);
    let requests = bench.server.requests();
    let head = requests[0].head.to_ascii_lowercase();
    assert!(head.starts_with("post /1.0/environment/control/rest/getbasicenvsinfo http/1.1\r\n"));
    assert!(head.contains("user-agent: vz-sync/"), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"));
    assert!(head.contains("accept-encoding: gzip"));
    assert!(!head.contains("referer"));
    assert_eq!(requests[0].body, format!("session={CANARY}"));
    let seen = bench.seen.lock().expect("no panics")[0];
    assert_eq!((seen.platform, seen.method, seen.class), (P, "getbasicenvsinfo", "ok"));
}

#[tokio::test]
async fn the_owner_is_named_only_where_that_is_wanted() {
    let server = Server::start([Reply::ok(BASIC)]).await;
    let bench = Bench::with(server, |options| options.send_owner_uid = true);
    bench.listing().await.0.expect("a listing");
    let body = format!("session={CANARY}&ownerUid={OWNER}");
    assert_eq!(bench.server.requests()[0].body, body);
}

#[tokio::test]
async fn an_account_is_read() {
    let bench = bench([Reply::ok(USER), Reply::ok(r#"{"result":0,"uid":9,"status":"SUSPENDED"}"#)]);
    let bench = bench.await;
    let account = bench.platform.account(&bench.access).await.expect("an account");
    assert_eq!((account.uid, account.enabled), (4784, true));
    let account = bench.platform.account(&bench.access).await.expect("an account");
    assert_eq!((account.uid, account.enabled), (9, false));
}

#[tokio::test]
async fn answers_that_are_none_have_classes() {
    let page = "<html><h1>502 Bad Gateway</h1></html>";
    for (reply, expected) in [
        (Reply::status("502 Bad Gateway", &[], page), (Retryable, "http_502")),
        (Reply::ok(page), (Retryable, "html")),
        (Reply::ok(""), (Retryable, "truncated")),
        (Reply::ok("nonsense"), (Retryable, "invalid_json")),
        (Reply::ok(r#"{"result":17,"error":"x"}"#), (Retryable, "result_17")),
        (Reply::ok(r#"{"result":0,"response":{"result":99}}"#), (Retryable, "result_99")),
        (Reply::ok(r#"{"infos":[],"result":99}"#), (Retryable, "result_99")),
        (Reply::ok(r#"{"result":5}"#), (Invalid, "result_5")),
        (Reply::ok(r#"{"result":0}"#), (Invalid, "infos_missing")),
        (Reply::ok(r#"{"result":0,"infos":null}"#), (Invalid, "infos_missing")),
        (Reply::ok(r#"{"result":0,"infos":{}}"#), (Invalid, "infos_missing")),
        (Reply::ok(r#"{"infos":[]}"#), (Invalid, "result_missing")),
        (
            Reply::status("302 Found", &["location: http://127.0.0.1:1/"], ""),
            (Retryable, "redirect"),
        ),
        (Reply::status("401 Unauthorized", &[], page), (Retryable, "http_401")),
        (Reply::ThenClose(Vec::new()), (Retryable, "connection_lost")),
        (Reply::ThenClose(Reply::promise("")), (Retryable, "truncated")),
        (
            Reply::ThenClose(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nno".to_vec()),
            (Retryable, "truncated"),
        ),
    ] {
        let bench = bench([reply]).await;
        let failure = bench.failure().await;
        assert_eq!(class_and_code(&failure), expected);
        assert_eq!(failure.connection_level, expected.1 == "connection_lost");
        assert_eq!(bench.server.requests().len(), 1, "{expected:?} is not retried");
    }
}

#[tokio::test]
async fn a_listing_method_that_is_refused_gives_way_to_the_other() {
    let refused = || Reply::ok(r#"{"result":8202}"#);
    let asked = |bench: &Bench| {
        let heads = bench.server.requests().into_iter().map(|request| request.head);
        let path = |head: String| head.split_whitespace().nth(1).map(str::to_owned);
        heads
            .filter_map(path)
            .map(|path| path.rsplit('/').next().unwrap_or("").to_owned())
            .collect()
    };
    let methods: Vec<String> = vec!["getbasicenvsinfo".to_owned(), "getenvs".to_owned()];
    let bench = bench([refused(), Reply::ok(BASIC)]).await;
    let (listing, elements) = bench.listing().await;
    assert!(listing.expect("a listing").completeness.is_complete());
    assert_eq!((elements.len(), asked(&bench)), (1, methods.clone()));
    // Without either there is nothing to go by, whoever the key belongs to.
    let bench = self::bench([refused(), refused(), Reply::ok(USER)]).await;
    assert_eq!(class_and_code(&bench.failure().await), (Auth, "listing_refused"));
    assert_eq!(asked(&bench), methods);
    // Any other answer of the second is an answer.
    let bench = self::bench([refused(), Reply::ok(r#"{"result":99}"#)]).await;
    assert_eq!(class_and_code(&bench.failure().await), (Retryable, "result_99"));
}

#[tokio::test]
async fn a_key_is_refused_only_if_it_cannot_say_whose_it_is() {
    let refused =
        || Reply::ok(r#"{"result":702,"error":"USER_NOT_AUTHENTICATED: session [canxxx"}"#);
    let bench_of = async |replies: [Reply; 2]| {
        let bench = bench(replies).await;
        let failure = bench.failure().await;
        let asked = bench.server.requests();
        assert!(asked[1].head.contains("/users/account/rest/getuserinfo"));
        assert_eq!(asked.len(), 2);
        failure
    };
    assert_eq!(class_and_code(&bench_of([refused(), refused()]).await), (Auth, "result_702"));
    let alive = bench_of([refused(), Reply::ok(USER)]).await;
    assert_eq!(class_and_code(&alive), (Retryable, "result_702"));
    let unclear = bench_of([refused(), Reply::status("502 Bad Gateway", &[], "<html>")]).await;
    assert_eq!(class_and_code(&unclear), (Retryable, "result_702"));
    let json = || Reply::status("403 Forbidden", &[], r#"{"result":1}"#);
    assert_eq!(class_and_code(&bench_of([json(), json()]).await), (Auth, "http_403"));
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_given_up_and_told_of() {
    let silent = [
        (Reply::ThenSilence(Vec::new()), "timeout", true),
        (Reply::ThenSilence(b"HTTP/1.1 200 OK\r\n".to_vec()), "timeout", true),
        (Reply::ThenSilence(Reply::promise(r#"{"result":0,"#)), "body_timeout", false),
    ];
    for (reply, code, connection_level) in silent {
        let bench = Bench::with(Server::start([reply]).await, |options| {
            options.connect = Duration::from_millis(100);
            options.first_byte = Duration::from_millis(100);
            options.between_chunks = Duration::from_millis(100);
        });
        let failure = bench.failure().await;
        assert_eq!(class_and_code(&failure), (Retryable, code));
        assert_eq!(failure.connection_level, connection_level);
        let told = bench.around.told();
        assert_eq!(told.contains(&"failed, threshold 5".to_owned()), connection_level, "{told:?}");
    }
}

#[tokio::test]
async fn a_drip_ends_with_the_requests_own_deadline() {
    let drip = Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"result\":0,".to_vec(), b" ".to_vec());
    let bench = Bench::with(Server::start([drip]).await, |options| {
        options.total = Duration::from_millis(150);
    });
    let began = Instant::now();
    assert_eq!(class_and_code(&bench.failure().await), (Retryable, "body_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn refused_connections_are_connection_level() {
    let mut server = Server::start([Reply::ok(BASIC)]).await;
    server.stop().await;
    let bench = Bench::new(server);
    let failure = bench.failure().await;
    assert_eq!(class_and_code(&failure), (Retryable, "connect"));
    assert!(failure.connection_level);
    assert_eq!(bench.around.told(), ["failed, threshold 5"]);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_once() {
    let closed = Reply::ThenClose(Vec::new());
    let bench = bench([Reply::ok(BASIC), closed.clone(), Reply::ok(BASIC), closed]).await;
    bench.listing().await.0.expect("the first one opens a connection");
    let (listing, elements) = bench.listing().await;
    assert!(listing.expect("the second one survives").completeness.is_complete());
    assert_eq!(elements.len(), 1);
    let connections = bench.server.requests().iter().map(|r| r.connection).collect::<Vec<_>>();
    assert_eq!(connections, [0, 0, 1]);
    assert_eq!(bench.around.acquired.load(Ordering::SeqCst), 3, "the limiter counts both tries");
    assert!(bench.around.told().is_empty(), "it says nothing about the platform");
    // Control: the retry's own connection is new, so that its loss would have been a failure.
    let failure = bench.failure().await;
    assert_eq!(failure.code, "connection_lost");
    assert_eq!(bench.server.requests().len(), 5);
}

#[tokio::test]
async fn a_429_holds_back_everyone_at_once() {
    let limited = Reply::status("429 Too Many Requests", &["retry-after: 42"], "<html>");
    let bench = bench([limited]).await;
    let failure = bench.failure().await;
    assert_eq!(class_and_code(&failure), (Throttled, "http_429"));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(42)));
    assert_eq!(bench.around.told(), ["throttled 42"]);
    let failure = bench.failure().await;
    assert_eq!(class_and_code(&failure), (Throttled, "platform_throttled"));
    assert!(failure.retry_after.is_some_and(|wait| wait <= Duration::from_secs(42)));
    assert_eq!(bench.server.requests().len(), 1, "the second one was not sent");
    assert_eq!(bench.around.acquired.load(Ordering::SeqCst), 1, "and cost no token");
}

#[tokio::test]
async fn a_full_limiter_gives_the_request_back() {
    let bench = bench([Reply::ok(BASIC)]).await;
    bench.around.full.store(true, Ordering::SeqCst);
    let failure = bench.failure().await;
    assert_eq!(class_and_code(&failure), (Throttled, "rate_limit"));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
    assert!(bench.server.requests().is_empty());
}

#[tokio::test]
async fn an_open_circuit_lets_only_a_probe_through() {
    let bench = bench([Reply::ok(BASIC)]).await;
    let gate = PlatformGate {
        platform: P,
        base_url: String::new(),
        circuit: Circuit::Open,
        consecutive_failures: 5,
        open_until: None,
        throttled_for: Duration::ZERO,
    };
    bench.gates.refresh(std::slice::from_ref(&gate));
    let failure = bench.failure().await;
    assert_eq!(class_and_code(&failure), (Throttled, "circuit_open"));
    assert!(bench.server.requests().is_empty());
    assert_eq!(bench.failure().await.code, "circuit_open");
    assert_eq!(bench.around.told(), ["probe"], "the slot is asked for once a second");

    let bench = self::bench([Reply::ok(BASIC)]).await;
    bench.gates.refresh(&[gate]);
    bench.around.probe.store(true, Ordering::SeqCst);
    bench.listing().await.0.expect("the probe passes");
    assert_eq!(bench.around.told(), ["probe", "answered"]);
    assert_eq!(bench.gates.state(P), GateState::Open);
    bench.listing().await.0.expect("and others after it");
    assert_eq!(bench.around.told(), ["probe", "answered"], "no write when there is no news");
}

#[tokio::test]
async fn addresses_at_home_are_not_asked() {
    let mut bench = bench([Reply::ok(BASIC)]).await;
    for url in ["http://10.0.0.1", "https://user@platform.example", "ftp://x", "https://[::1]"] {
        // The loopback flag of this bench covers http://127.0.0.1 and nothing else, but for ::1.
        bench.access.base_url = url.to_owned();
        if url != "https://[::1]" {
            assert_eq!(class_and_code(&bench.failure().await), (Invalid, "platform_url"), "{url}");
        }
    }
    let server = Server::start([Reply::ok(BASIC)]).await;
    let bench = Bench::with(server, |options| options.addresses = AddressPolicy::default());
    assert_eq!(class_and_code(&bench.failure().await), (Invalid, "platform_url"));
    assert!(bench.server.requests().is_empty());
    assert_eq!(bench.around.acquired.load(Ordering::SeqCst), 0);
}
