//! Whole answers: listings, outlines, single environments and actions.

use std::io::Write;

use serde_json::{Value, json};
use time::macros::datetime;
use vz_sync_actors::domain::{Columns, Completeness, PartialReason, RowFlags, StoredRow};
use vz_sync_actors::ports::platform::{ActionQuery, Lookup};

use super::server::Reply;
use super::*;

const LAZY: &str = include_str!("../../../../tests/fixtures/virtuozzo/getenvs_lazy.guess.json");
const INFO: &str = include_str!("../../../../tests/fixtures/virtuozzo/getenvinfo.recorded.json");

async fn bench(reply: Reply) -> Bench {
    Bench::new(Server::start([reply]).await)
}

/// The recorded environment, `count` times under other names.
fn many(count: usize) -> Vec<Value> {
    let first = serde_json::from_str::<Value>(BASIC).expect("JSON")["infos"][0].clone();
    (0..count)
        .map(|number| {
            let mut element = first.clone();
            element["env"]["appid"] = json!(format!("app{number}"));
            element["nodes"][0]["id"] = json!(number);
            element
        })
        .collect()
}

fn partial(listing: &Listing) -> Option<&PartialReason> {
    match &listing.completeness {
        Completeness::Complete => None,
        Completeness::Partial(reason) => Some(reason),
    }
}

#[tokio::test]
async fn a_listing_may_say_its_result_last() {
    let text = format!(r#"{{"infos":{},"source":"JEL","result":0}}"#, json!(many(300)));
    let bench = bench(Reply::ok(text)).await;
    let (listing, elements) = bench.listing().await;
    let listing = listing.expect("a listing");
    assert_eq!((listing.completeness, listing.counts.listed), (Completeness::Complete, 300));
    assert!(listing.body.is_some());
    let ids = elements.iter().map(|element| match element {
        Element::Environment(element) => element.environment.id.as_str().to_owned(),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), (0..300).map(|n| format!("app{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_partial_and_its_whole_elements_count() {
    let whole = json!({"infos": many(3), "result": 0}).to_string();
    let cut = whole.find("app2").expect("the third");
    for reply in [
        Reply::ThenClose(Reply::promise(&whole[..cut])),
        // HTTP calls it complete, only the JSON does not.
        Reply::ok(&whole[..cut]),
        Reply::ok(&whole[..whole.len() - 1]),
        Reply::ok(format!("{}<html>", &whole[..whole.len() - 1])),
    ] {
        let bench = bench(reply).await;
        let (listing, elements) = bench.listing().await;
        let listing = listing.expect("a partial listing");
        assert_eq!(partial(&listing), Some(&PartialReason::Truncated));
        assert_eq!(listing.body, None);
        assert!(elements.len() >= 2);
    }
}

#[tokio::test]
async fn a_failure_behind_a_list_is_a_failure() {
    let text = format!(r#"{{"infos":{},"result":99}}"#, json!(many(2)));
    let bench = bench(Reply::ok(text)).await;
    let (listing, elements) = bench.listing().await;
    assert_eq!(listing.expect_err("a failure").code, "result_99");
    assert_eq!(elements.len(), 2, "handed over before the failure was read");
}

#[tokio::test]
async fn doubts_make_a_listing_partial_and_foreign_environments_do_not() {
    let mut elements = many(4);
    elements[1]["env"]["uid"] = json!(1);
    elements[2]["env"]["status"] = json!("up");
    elements[3]["nodes"][0]["status"] = json!("up");
    let bench_of = async |elements: &[Value]| {
        let bench = bench(Reply::ok(json!({"result": 0, "infos": elements}).to_string())).await;
        bench.listing().await.0.expect("a listing")
    };
    let listing = bench_of(&elements).await;
    assert_eq!(partial(&listing), None);
    let counts = listing.counts;
    assert_eq!((counts.listed, counts.shared, counts.quarantined), (4, 1, 2));
    for (change, reason) in [
        (json!({"right": "VIEWER"}), PartialReason::NotOwner),
        (json!({"result": 3}), PartialReason::ElementFailed),
        (json!({"env": {}}), PartialReason::UnidentifiedElement),
    ] {
        let mut elements = elements.clone();
        for (key, value) in change.as_object().expect("an object") {
            elements[0][key] = value.clone();
        }
        assert_eq!(partial(&bench_of(&elements).await), Some(&reason));
    }
}

#[tokio::test]
async fn a_packed_body_is_unpacked_and_its_limit_counts_what_comes_out() {
    let text = json!({"result": 0, "infos": many(200)}).to_string();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text.as_bytes()).expect("memory");
    let packed = packer.finish().expect("memory");
    assert!(packed.len() * 10 < text.len());
    let reply = Reply::status("200 OK", &["content-encoding: gzip"], &packed);
    let bench = bench(reply.clone()).await;
    let (listing, elements) = bench.listing().await;
    assert!(listing.expect("a listing").completeness.is_complete());
    assert_eq!(elements.len(), 200);

    let limit = text.len() as u64 - 1;
    let bench = Bench::with(Server::start([reply]).await, |options| options.max_body = limit);
    let listing = bench.listing().await.0.expect("a partial listing");
    assert_eq!(partial(&listing), Some(&PartialReason::LimitReached));
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let endless = Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 65536]);
    let bench = Bench::with(Server::start([endless]).await, |options| options.max_body = 1 << 20);
    assert_eq!(bench.failure().await.code, "too_long");
}

#[tokio::test]
async fn the_second_identical_listing_is_recognised_element_by_element() {
    let bench = bench(Reply::ok(json!({"result": 0, "infos": many(5)}).to_string())).await;
    let (first, elements) = bench.listing().await;
    let mut baseline = Baseline::default();
    for element in elements {
        let Element::Environment(element) = element else { panic!("parsed") };
        let row = StoredRow {
            source_version: element.environment.source_version,
            raw_version: element.environment.raw_version,
            outline_version: element.environment.outline_version,
            fence: vz_sync_actors::domain::Fence::default(),
            parent: None,
            env_name: None,
            status: None,
            flags: RowFlags::default(),
        };
        baseline.environments.insert(element.environment.id, row);
    }
    let mut sink = Collect(Vec::new());
    let second = bench.platform.environments(&bench.access, &baseline, &mut sink).await;
    assert!(sink.0.iter().all(|element| matches!(element, Element::Same(_))));
    assert_eq!(sink.0.len(), 5);
    let (first, second) = (first.expect("a listing"), second.expect("a listing"));
    assert_eq!((first.body, first.completeness), (second.body, second.completeness));
}

#[tokio::test]
async fn outlines_are_read_with_the_versions_of_full_elements() {
    let bench = bench(Reply::ok(LAZY)).await;
    let outlines = bench.platform.outlines(&bench.access).await.expect("outlines");
    assert!(outlines.completeness.is_complete());
    assert_eq!(outlines.outlines[0].env_name, "local-sha-master-0954606");
    let request = bench.server.requests().remove(0);
    assert!(request.head.starts_with("POST /1.0/environment/control/rest/getenvs "));
    assert_eq!(request.body, format!("session={CANARY}&lazy=true"));
    let mut nameless = serde_json::from_str::<Value>(LAZY).expect("JSON");
    nameless["infos"][0]["env"]["envName"] = Value::Null;
    let bench = self::bench(Reply::ok(nameless.to_string())).await;
    let outlines = bench.platform.outlines(&bench.access).await.expect("outlines");
    assert!(!outlines.completeness.is_complete(), "left out, it would look deleted");
}

#[tokio::test]
async fn one_environment_is_found_gone_or_a_failure() {
    let bench_of = async |body: &str| {
        let bench = bench(Reply::ok(body)).await;
        let found = bench.platform.environment(&bench.access, "a&b=c").await;
        assert_eq!(bench.server.requests()[0].body, format!("session={CANARY}&envName=a%26b%3Dc"));
        found
    };
    let found = bench_of(INFO).await.expect("an environment");
    assert!(matches!(found, Lookup::Found { element: Element::Environment(_), .. }));
    let gone = r#"{"response":null,"result":11,"error":"application [x] not exist"}"#;
    assert_eq!(bench_of(gone).await.expect("an answer"), Lookup::Gone);
    assert_eq!(bench_of(r#"{"result":17}"#).await.expect_err("a failure").code, "result_17");
    assert_eq!(bench_of(r#"{"result":0}"#).await.expect_err("a failure").code, "env_missing");
    assert_eq!(bench_of("<html>").await.expect_err("a failure").code, "html");
}

fn query() -> ActionQuery {
    ActionQuery {
        from: datetime!(2026-11-01 10:00:00 UTC),
        until: Some(datetime!(2026-11-01 13:00:00.5 +2)),
        start_row: 50,
        rows: 2,
        action: Some("DeleteEnv".to_owned()),
    }
}

#[tokio::test]
async fn a_page_of_actions_becomes_items() {
    let page = json!({"result": 0, "totalCount": 77, "array": [
        {"id": 5, "action": "DeleteEnv", "env": "shop", "appid": "a1", "uid": 3, "login": "x@y",
         "startTime": "2026-11-01 10:00:01", "endTime": "2026-11-01 10:00:09", "status": "SUCCESS",
         "result": 0, "token": CANARY},
        {"id": 6, "action": "StartEnv", "env": "shop", "startTime": "2026-11-01 10:00:02"},
        {"id": 7, "startTime": "2026-11-01 10:00:02"},
    ]});
    let date = "date: Sun, 01 Nov 2026 10:30:00 GMT";
    let bench = bench(Reply::status("200 OK", &[date], page.to_string())).await;
    let page = bench.platform.actions(&bench.access, &query()).await.expect("a page");
    assert_eq!(page.clock, Some(datetime!(2026-11-01 10:30 UTC)));
    assert!(!format!("{page:?}").contains(CANARY));
    assert_eq!((page.items.len(), page.malformed.len(), page.total), (2, 1, 77));
    assert!(page.completeness.is_complete(), "the malformed one was identified");
    let Columns::JobLog(log) = &page.items[0].columns else { panic!("columns") };
    assert_eq!((log.action.as_str(), log.result, log.uid), ("DeleteEnv", Some(0), Some(3)));
    assert_eq!(log.started_at, Some(datetime!(2026-11-01 10:00:01 UTC)));
    assert_eq!(log.finished_at, Some(datetime!(2026-11-01 10:00:09 UTC)));
    let Columns::JobLog(running) = &page.items[1].columns else { panic!("columns") };
    assert_eq!((running.result, running.finished_at), (None, None));
    let body = bench.server.requests().remove(0).body;
    let search = body.split_once("&search=").expect("a search").1.replace('+', "%20");
    let search = search.replace("%22", "\"").replace("%7B", "{").replace("%7D", "}");
    let search = search.replace("%3A", ":").replace("%2C", ",").replace("%20", " ");
    let search = search.replace("%5B", "[").replace("%5D", "]");
    let expected = json!({"startDate": "2026-11-01 10:00:00", "endDate": "2026-11-01 11:00:01",
        "startRow": 50, "resultCount": 2, "types": ["DeleteEnv"]});
    assert_eq!(serde_json::from_str::<Value>(&search).expect("JSON"), expected);
}

#[tokio::test]
async fn running_actions_name_their_environments() {
    let body = r#"{"result":0,"actions":[{"env":"shop"},{"appid":"a1","envName":"x"},{"id":1}]}"#;
    let bench = bench(Reply::ok(body)).await;
    let targets = bench.platform.current_actions(&bench.access).await.expect("targets");
    assert_eq!(targets.len(), 2);
    assert_eq!(targets[0].env_name.as_deref(), Some("shop"));
    assert_eq!(targets[1].id, Some("a1".into()));
    let bench = self::bench(Reply::ok(r#"{"result":8202}"#)).await;
    let failure = bench.platform.current_actions(&bench.access).await.expect_err("a refusal");
    assert_eq!(failure.class, FailureClass::Capability);
    let bench = self::bench(Reply::ok(r#"{"result":0}"#)).await;
    let failure = bench.platform.current_actions(&bench.access).await.expect_err("no list");
    assert_eq!(failure.code, "list_missing");
}
