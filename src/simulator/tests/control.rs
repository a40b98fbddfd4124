//! The control endpoint.

use serde_json::{Value, json};

use super::{BASIC, UID, infos, options, own, simulator, small};
use crate::simulator::Simulator;

async fn order(simulator: &Simulator, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/control/{path}", simulator.base_url());
    let client = reqwest::Client::new();
    let request =
        client.post(url).header("content-type", "application/json").body(body.to_string());
    read(request.send().await.unwrap()).await
}

async fn look(simulator: &Simulator, path: &str) -> (u16, Value) {
    read(reqwest::get(format!("{}/control/{path}", simulator.base_url())).await.unwrap()).await
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn it_is_absent_unless_asked_for() {
    let mut options = options(1, 1);
    options.control = false;
    let simulator = simulator(options).await;
    assert_eq!(look(&simulator, "stats").await.0, 404);
}

#[tokio::test]
async fn the_world_is_changed_and_described() {
    let simulator = small().await;
    let (_, before) = look(&simulator, "world/10001").await;
    assert_eq!((&before["environments"], &before["nodes"]), (&json!(6), &json!(12)));
    let (_, created) = order(&simulator, "create", json!({"account": UID})).await;
    let name = created["name"].as_str().unwrap();
    let (_, grown) = look(&simulator, "world/10001").await;
    assert!(grown["names"].as_array().unwrap().contains(&json!(name)));
    assert_eq!(order(&simulator, "delete", json!({"account": UID, "env": name})).await.0, 204);
    let (_, after) = look(&simulator, "world/10001").await;
    assert_eq!(before, after);

    let wanted = json!({"account": UID, "count": 3, "kinds": ["rename"], "silent": true});
    let (_, changed) = order(&simulator, "mutate", wanted).await;
    assert_eq!(changed["changed"].as_array().unwrap().len(), 3);
    let (_, happened) = order(&simulator, "step", json!({"n": 4})).await;
    assert_eq!(happened["happened"].as_array().unwrap().len(), 4);
    assert_eq!(order(&simulator, "settle", json!({})).await.0, 204);
    assert_ne!(look(&simulator, "world/10001").await.1["hash"], before["hash"]);
    assert!(look(&simulator, "world/10001?items=true").await.1["items"][0]["nodes"].is_array());

    let (status, error) = order(&simulator, "create", json!({"account": 1})).await;
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("uid 1"));
}

#[tokio::test]
async fn faults_are_set_shown_and_cleared() {
    let simulator = small().await;
    let rules = json!([
        {"method": "getbasicenvsinfo", "times": 1, "fault": {"kind": "empty_list"}},
        {"account": UID, "after": 1, "fault": {"kind": "status", "code": 503}},
    ]);
    assert_eq!(order(&simulator, "faults", rules).await.0, 204);
    assert!(infos(&own(&simulator, BASIC, &[]).await).is_empty());
    let (_, shown) = look(&simulator, "faults").await;
    assert_eq!(shown["rules"][0]["fired"], 1);
    assert_eq!(
        (&shown["rules"][1]["matched"], &shown["rules"][1]["fired"]),
        (&json!(1), &json!(0))
    );
    let url = format!("{}/control/faults", simulator.base_url());
    assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 204);
    assert_eq!(infos(&own(&simulator, BASIC, &[]).await).len(), 6);
    let misspelt = json!([{"method": "getenvs", "fault": {"kind": "no_such_fault"}}]);
    assert_eq!(order(&simulator, "faults", misspelt).await.0, 422);
}

#[tokio::test]
async fn a_schedule_is_followed_shown_and_ended() {
    let simulator = small().await;
    let orders = json!({"seed": 3, "every_ms": 3_600_000, "lasting_ms": 0});
    assert_eq!(order(&simulator, "schedule", orders).await.0, 422);
    let orders = json!({
        "seed": 3, "every_ms": 3_600_000, "lasting_ms": 3_600_000, "only": ["empty"],
    });
    assert_eq!(order(&simulator, "schedule", orders.clone()).await.0, 204);
    let (_, shown) = look(&simulator, "schedule").await;
    assert_eq!(shown["schedule"], orders);
    assert_eq!(shown["spells"].as_array().unwrap().len(), 10);
    assert_eq!(shown["spells"][0]["trouble"]["fault"]["fault"]["kind"], "empty_list");

    // Without a pause between two spells there is always one, but for its first moment.
    let orders = json!({"seed": 3, "every_ms": 40, "lasting_ms": 40, "only": ["empty"]});
    assert_eq!(order(&simulator, "schedule", orders).await.0, 204);
    while !infos(&own(&simulator, BASIC, &[]).await).is_empty() {}
    let url = format!("{}/control/schedule", simulator.base_url());
    assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 204);
    assert_eq!(infos(&own(&simulator, BASIC, &[]).await).len(), 6);
    assert_eq!(look(&simulator, "schedule").await.1, json!({"schedule": null}));
    simulator.shutdown().await;
}

#[tokio::test]
async fn tokens_and_statistics() {
    let simulator = small().await;
    let expired = json!({"account": UID, "state": "expired"});
    assert_eq!(order(&simulator, "token", expired).await.0, 204);
    assert_eq!(own(&simulator, BASIC, &[]).await["result"], 702);
    let renewed = json!({"account": UID, "replace": "fresh"});
    assert_eq!(order(&simulator, "token", renewed).await.0, 204);
    assert_eq!(super::call(&simulator, BASIC, &[("session", "fresh")]).await["result"], 0);
    let (_, stats) = look(&simulator, "stats").await;
    assert_eq!(stats["methods"]["getbasicenvsinfo"]["requests"], 2);
}
