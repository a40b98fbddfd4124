//! Each fault as a client meets it, and that it is gone when the rule is.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;

use super::{
    BASIC, GETENVINFO, GETENVS, SEARCH, TOKEN, UID, USERINFO, infos, names, own, send, simulator,
    small,
};
use crate::simulator::{Door, Fault, FaultRule, HangAt, Simulator};

async fn suffering(fault: Fault) -> Simulator {
    let simulator = small().await;
    simulator.faults().add(FaultRule::new(fault).times(1));
    simulator
}

/// Every test ends with this: the platform is well again.
async fn assert_healed(simulator: Simulator) {
    assert_eq!(infos(&own(&simulator, BASIC, &[]).await).len(), 6);
    simulator.shutdown().await;
}

/// The raw body of a basic listing, or how it failed.
async fn raw(simulator: &Simulator) -> Result<bytes::Bytes, reqwest::Error> {
    send(simulator, BASIC, &[("session", TOKEN)]).await?.bytes().await
}

/// Whether nothing came within a moment.
async fn is_silent<T>(answer: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::from_millis(150), answer).await.is_err()
}

/// Whether nothing came within a moment after the simulator has met its first request; a client is
/// slow to start.
async fn leaves_waiting(simulator: &Simulator) -> bool {
    tokio::select! {
        _ = send(simulator, BASIC, &[("session", TOKEN)]) => false,
        silent = async {
            simulator.stats().wait_for("getbasicenvsinfo", 1).await;
            is_silent(std::future::pending::<()>()).await
        } => silent,
    }
}

#[tokio::test]
async fn http_statuses_and_pages() {
    let simulator = suffering(Fault::Status { code: 429, retry_after: Some(3) }).await;
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"3".parse().unwrap())
    );
    assert_healed(simulator).await;

    let simulator = suffering(Fault::Html).await;
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().starts_with("<html>"));
    assert_healed(simulator).await;

    let simulator = suffering(Fault::Redirect { location: "http://127.0.0.1:1/".into() }).await;
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"http://127.0.0.1:1/".parse().unwrap())
    );
    assert_healed(simulator).await;
}

#[tokio::test]
async fn results_other_than_zero() {
    for (fault, result) in [
        (Fault::Result { code: 99, error: None }, 99),
        (Fault::Expired, 702),
        (Fault::NotAllowed, 8202),
    ] {
        let simulator = suffering(fault).await;
        let answer = own(&simulator, BASIC, &[]).await;
        assert_eq!(answer["result"], result);
        assert_eq!(answer["source"], "JEL");
        assert_healed(simulator).await;
    }
    let simulator = suffering(Fault::Nested { code: 4099 }).await;
    let answer = own(&simulator, BASIC, &[]).await;
    assert_eq!((&answer["result"], &answer["response"]["result"]), (&json!(0), &json!(4099)));
    assert_healed(simulator).await;
}

#[tokio::test]
async fn answers_that_hang() {
    let simulator = suffering(Fault::Hang { at: HangAt::Headers }).await;
    assert!(leaves_waiting(&simulator).await);
    assert_healed(simulator).await;

    let simulator = suffering(Fault::Hang { at: HangAt::Body }).await;
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert!(is_silent(answer.bytes()).await);
    assert_healed(simulator).await;
}

#[tokio::test]
async fn answers_that_are_late_or_slow() {
    let simulator = suffering(Fault::DelayMs { ms: 60_000 }).await;
    assert!(leaves_waiting(&simulator).await);
    assert_healed(simulator).await;

    let simulator = suffering(Fault::SlowDrip { bytes: 1, interval_ms: 60_000 }).await;
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert!(is_silent(answer.bytes()).await);
    assert_healed(simulator).await;

    let simulator = suffering(Fault::SlowDrip { bytes: 4096, interval_ms: 0 }).await;
    assert_eq!(infos(&own(&simulator, BASIC, &[]).await).len(), 6);
    assert_healed(simulator).await;
}

#[tokio::test]
async fn bodies_that_end_early() {
    let simulator = suffering(Fault::Truncate { bytes: 100, clean: true }).await;
    let body = raw(&simulator).await.unwrap();
    assert_eq!(body.len(), 100);
    assert_healed(simulator).await;

    let simulator = suffering(Fault::Truncate { bytes: 100, clean: false }).await;
    let mut answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().map(|part| part.len()), Some(100));
    assert!(answer.chunk().await.is_err(), "the connection breaks");
    assert_healed(simulator).await;
}

#[tokio::test]
async fn bodies_that_are_too_big() {
    for (fault, on_the_wire) in [
        (Fault::Huge { bytes: 3_000_000 }, 3_000_000..4_000_000),
        (Fault::GzipBomb { bytes: 30_000_000 }, 1_000..100_000),
    ] {
        let simulator = suffering(fault.clone()).await;
        let body = raw(&simulator).await.unwrap();
        assert!(on_the_wire.contains(&body.len()), "{fault:?}: {}", body.len());
        assert_healed(simulator).await;
        // Who unpacks it finds the whole answer in it.
        let simulator = suffering(fault).await;
        let client = reqwest::Client::builder().gzip(true).build().unwrap();
        let url = format!("{}/1.0/{BASIC}?session={TOKEN}", simulator.base_url());
        let body = client.get(url).send().await.unwrap().bytes().await.unwrap();
        assert!(body.len() > 3_000_000);
        let listing = serde_json::from_slice(&body).unwrap();
        assert_eq!(infos(&listing).len(), 6);
        assert_healed(simulator).await;
    }
}

#[tokio::test]
async fn infos_of_the_wrong_kind() {
    for (fault, expected) in [
        (Fault::InfosMissing, json!({"result": 0})),
        (Fault::InfosNull, json!({"result": 0, "infos": null})),
        (Fault::InfosType, json!({"result": 0, "infos": {"0": {}}})),
        (Fault::EmptyList, json!({"result": 0, "infos": []})),
    ] {
        let simulator = suffering(fault).await;
        assert_eq!(own(&simulator, BASIC, &[]).await, expected);
        assert_healed(simulator).await;
    }
}

#[tokio::test]
async fn a_part_is_missing_and_stays_the_same_part() {
    let simulator = simulator(super::options(1, 50)).await;
    let all = names(&own(&simulator, BASIC, &[]).await);
    simulator.faults().add(FaultRule::new(Fault::DropFraction { fraction: 0.6 }));
    let kept = names(&own(&simulator, BASIC, &[]).await);
    assert_eq!(kept.len(), 20);
    assert!(kept.iter().all(|name| all.contains(name)));
    assert_eq!(kept, names(&own(&simulator, GETENVS, &[("lazy", "true")]).await));
    simulator.faults().clear();
    assert_eq!(names(&own(&simulator, BASIC, &[]).await), all);
}

#[tokio::test]
async fn elements_that_are_wrong() {
    let simulator = suffering(Fault::Duplicate { count: 2 }).await;
    let listed = names(&own(&simulator, BASIC, &[]).await);
    assert_eq!((listed.len(), &listed[..2]), (8, &listed[6..]));
    assert_healed(simulator).await;

    let simulator = suffering(Fault::MalformedElement { n: 2 }).await;
    let listing = own(&simulator, BASIC, &[]).await;
    let broken = infos(&listing).iter().filter(|info| !info["env"]["status"].is_number());
    assert!(broken.clone().all(|info| info["env"]["appid"].is_string()));
    assert_eq!((infos(&listing).len(), broken.count()), (6, 2));
    assert_healed(simulator).await;

    let simulator = suffering(Fault::NodesMissing { count: 1 }).await;
    let listing = own(&simulator, BASIC, &[]).await;
    let without = infos(&listing).iter().filter(|info| info.get("nodes").is_none());
    assert_eq!((infos(&listing).len(), without.count()), (6, 1));
    simulator.faults().add(FaultRule::new(Fault::NodesMissing { count: 1 }).times(1));
    let name = names(&listing)[0].clone();
    let one = own(&simulator, GETENVINFO, &[("envName", &name)]).await;
    assert!(one["env"].is_object() && one.get("nodes").is_none());
    assert_healed(simulator).await;

    let simulator = suffering(Fault::UnknownStatus { code: 4711, count: 1 }).await;
    let listing = own(&simulator, BASIC, &[]).await;
    assert_eq!(infos(&listing)[0]["env"]["status"], 4711);
    assert_healed(simulator).await;
}

#[tokio::test]
async fn text_that_a_database_or_parser_chokes_on() {
    let simulator = suffering(Fault::Nul).await;
    assert!(
        own(&simulator, BASIC, &[]).await["infos"][0]["env"]["displayName"]
            .as_str()
            .unwrap()
            .contains('\0')
    );
    assert_healed(simulator).await;

    let simulator = suffering(Fault::BadUtf8).await;
    assert!(std::str::from_utf8(&raw(&simulator).await.unwrap()).is_err());
    assert_healed(simulator).await;

    let simulator = suffering(Fault::Deep { levels: 100_000 }).await;
    let body = raw(&simulator).await.unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err(), "too deep to parse");
    assert!(body.starts_with(br#"{"result":0,"infos":[{"deep":[[[["#));
    assert_healed(simulator).await;
}

#[tokio::test]
async fn a_collaborators_key() {
    let simulator = small().await;
    let fault = Fault::Collaborator { foreign: 2, right: Some("USER".into()) };
    simulator.faults().add(FaultRule::new(fault));
    let listing = own(&simulator, BASIC, &[]).await;
    let foreign = infos(&listing).iter().filter(|info| info["env"]["uid"] != UID).count();
    assert_eq!((infos(&listing).len(), foreign), (8, 2));
    assert_eq!(infos(&listing)[0]["right"], "USER");
    assert_ne!(own(&simulator, USERINFO, &[]).await["uid"], UID);
    let collaborations = own(&simulator, "users/collaboration/rest/getcollaborations", &[]).await;
    assert_eq!(collaborations["isOwner"], false);
    simulator.faults().clear();
    assert_healed(simulator).await;
}

#[tokio::test]
async fn a_clock_an_hour_off() {
    let simulator = small().await;
    simulator.faults().add(FaultRule::new(Fault::ClockSkew { seconds: 3600 }));
    let time = own(&simulator, "environment/tracking/rest/getserverutctime", &[]).await;
    assert_eq!(time["object"], "2026-01-02 04:04:05");
    simulator.world().mutate(UID, &crate::simulator::Mutation::default()).unwrap();
    let window = r#"{"startDate":"2026-01-02 04:00:00"}"#;
    let found = own(&simulator, SEARCH, &[("search", window)]).await;
    assert_eq!(found["array"][0]["startTime"], "2026-01-02 04:04:05");
    let answer = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    assert_eq!(answer.headers()["date"], "Fri, 02 Jan 2026 04:04:05 GMT");
}

#[tokio::test]
async fn one_page_of_a_history_fails() {
    let simulator = small().await;
    let mut rule = FaultRule::new(Fault::Result { code: 17, error: None }).method("searchactions");
    rule.from_row = Some(10);
    simulator.faults().add(rule);
    let page = async |start: &str| {
        let search = format!("{{\"startRow\":{start}}}");
        own(&simulator, SEARCH, &[("search", &search)]).await["result"].clone()
    };
    assert_eq!((page("0").await, page("10").await), (json!(0), json!(17)));
}

#[tokio::test]
async fn a_shut_door() {
    let simulator = small().await;
    let kept = reqwest::Client::new();
    let url = format!("{}/1.0/{BASIC}?session={TOKEN}", simulator.base_url());
    assert_eq!(kept.get(&url).send().await.unwrap().status(), 200);

    simulator.set_door(Door::Refuse).await;
    let refused = TcpStream::connect(simulator.local_addr()).await.map(drop);
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
    assert!(kept.get(&url).send().await.is_err(), "open connections are broken too");

    simulator.set_door(Door::Hang).await;
    let connecting = TcpStream::connect(simulator.local_addr());
    assert!(is_silent(connecting).await, "neither accepted nor refused");

    simulator.set_door(Door::Open).await;
    assert_healed(simulator).await;
}

#[tokio::test]
async fn shutting_down_does_not_wait_for_hanging_answers() {
    let simulator = suffering(Fault::Hang { at: HangAt::Headers }).await;
    let url = format!("{}/1.0/{BASIC}?session={TOKEN}", simulator.base_url());
    let hanging = tokio::spawn(async move { reqwest::get(url).await.is_err() });
    simulator.stats().wait_for("getbasicenvsinfo", 1).await;
    simulator.shutdown().await;
    assert!(hanging.await.unwrap());
}
