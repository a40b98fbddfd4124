//! The simulator as its clients see it: over HTTP on loopback.

mod control;
mod faults;
mod methods;
mod wire;
mod world;

use serde_json::Value;

use super::{Simulator, SimulatorOptions, start};

/// 2026-01-02 03:04:05, where every test's clock stands.
const START: i64 = 1_767_323_045;

fn options(accounts: usize, environments: usize) -> SimulatorOptions {
    let mut options = SimulatorOptions::uniform(accounts, environments, 2);
    options.seed = 7;
    options.start_time = Some(START);
    options.control = true;
    options
}

async fn simulator(options: SimulatorOptions) -> Simulator {
    start(options).await.expect("the simulator starts on a free port")
}

async fn small() -> Simulator {
    simulator(options(2, 6)).await
}

/// The first account of every test.
const UID: i64 = 10_001;
const TOKEN: &str = "t000001";
const OTHER_UID: i64 = 10_002;
const OTHER_TOKEN: &str = "t000002";

const GETENVS: &str = "environment/control/rest/getenvs";
const BASIC: &str = "environment/control/rest/getbasicenvsinfo";
const GETENVINFO: &str = "environment/control/rest/getenvinfo";
const SEARCH: &str = "environment/tracking/rest/searchactions";
const USERINFO: &str = "users/account/rest/getuserinfo";

/// POSTs a form and gives the answer as it came.
async fn send(
    simulator: &Simulator,
    path: &str,
    form: &[(&str, &str)],
) -> Result<reqwest::Response, reqwest::Error> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .gzip(false)
        .build()?;
    let url = format!("{}/1.0/{path}", simulator.base_url());
    client.post(url).form(form).send().await
}

/// POSTs a form and reads JSON out of HTTP 200.
async fn call(simulator: &Simulator, path: &str, form: &[(&str, &str)]) -> Value {
    let response = send(simulator, path, form).await.expect("an answer");
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON")
}

/// The same with the first account's token.
async fn own(simulator: &Simulator, path: &str, form: &[(&str, &str)]) -> Value {
    let form = [&[("session", TOKEN)], form].concat();
    call(simulator, path, &form).await
}

fn infos(listing: &Value) -> &Vec<Value> {
    assert_eq!(listing["result"], 0, "{listing}");
    listing["infos"].as_array().expect("infos")
}

fn names(listing: &Value) -> Vec<String> {
    let name = |info: &Value| info["env"]["envName"].as_str().expect("envName").to_owned();
    infos(listing).iter().map(name).collect()
}
