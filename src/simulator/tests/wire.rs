//! The wire forms against the samples in `tests/fixtures/virtuozzo/`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{BASIC, GETENVINFO, GETENVS, TOKEN, own, send, simulator, small};

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../../../tests/fixtures/virtuozzo/",
            $name
        )))
        .expect("a fixture is JSON")
    };
}

/// Every path of a value with the type found there. Lists count as one path for all elements.
fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    fn walk(value: &Value, path: &str, shape: &mut BTreeMap<String, &'static str>) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        shape.insert(path.to_owned(), kind);
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    walk(value, &format!("{path}.{key}"), shape);
                }
            }
            Value::Array(list) => {
                for value in list {
                    walk(value, &format!("{path}[]"), shape);
                }
            }
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    walk(value, "", &mut found);
    found
}

/// What the platform leaves out when it is unset; the recorded environment has none of it.
const OPTIONAL: [&str; 6] = [
    ".infos[].env.displayName",
    ".infos[].env.extdomains[]",
    ".infos[].envGroups[]",
    ".infos[].nodes[].displayName",
    ".infos[].nodes[].extIPs",
    ".infos[].nodes[].extIPs[]",
];

fn assert_same_shape(answer: &Value, sample: &Value) {
    let mut found = shape(answer);
    for path in OPTIONAL {
        found.remove(path);
        found.remove(&path.replace(".infos[]", ""));
    }
    assert_eq!(found, shape(sample));
}

#[tokio::test]
async fn listings_have_the_samples_shape() {
    let simulator = small().await;
    assert_same_shape(
        &own(&simulator, BASIC, &[]).await,
        &fixture!("getbasicenvsinfo.derived.json"),
    );
    assert_same_shape(&own(&simulator, GETENVS, &[]).await, &fixture!("getenvs.derived.json"));
    assert_same_shape(
        &own(&simulator, GETENVS, &[("lazy", "true")]).await,
        &fixture!("getenvs_lazy.guess.json"),
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn one_environment_has_the_recorded_shape() {
    let simulator = small().await;
    let summary = simulator.world().summary(super::UID).unwrap();
    for item in &summary.items {
        let answer = own(&simulator, GETENVINFO, &[("envName", &item.name)]).await;
        assert_same_shape(&answer, &fixture!("getenvinfo.recorded.json"));
    }
}

#[tokio::test]
async fn errors_have_the_recorded_members() {
    let simulator = small().await;
    let recorded = fixture!("createobject_error.recorded.json");
    let answer = super::call(&simulator, BASIC, &[("session", "nobody")]).await;
    assert_eq!(answer["result"], recorded["result"]);
    assert_eq!(answer["error"], recorded["error"]);
    let signin = "users/authentication/rest/signin";
    let recorded = fixture!("signin_error.recorded.json");
    let answer = super::call(&simulator, signin, &[("login", "x"), ("password", "y")]).await;
    assert_eq!(answer["result"], recorded["result"]);
    assert_eq!(answer["error"], recorded["error"]);
}

#[tokio::test]
async fn headers_are_the_observed_ones() {
    let simulator = small().await;
    let observed = fixture!("response_headers.observed.json");
    let response = send(&simulator, BASIC, &[("session", TOKEN)]).await.unwrap();
    let varying = ["date", "expires", "content-language"];
    for (name, value) in observed["headers"].as_object().unwrap() {
        let sent = response.headers().get(name).unwrap_or_else(|| panic!("no header {name}"));
        assert!(
            varying.contains(&name.as_str()) || sent.to_str().ok() == value.as_str(),
            "{name}: {sent:?} instead of {value}"
        );
    }
    assert!(response.headers().get("etag").is_none());
    assert_eq!(response.headers().get("date").unwrap(), "Fri, 02 Jan 2026 03:04:05 GMT");
}

#[tokio::test]
async fn wide_elements_have_the_width_of_real_platforms() {
    let mut options = super::options(1, 60);
    options.wide = true;
    let simulator = simulator(options).await;
    let listing = own(&simulator, BASIC, &[]).await;
    let infos = super::infos(&listing);
    let widest = |of: &dyn Fn(&Value) -> usize| infos.iter().map(of).max().unwrap();
    let fields = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    let nodes = |info: &Value| info["nodes"].as_array().unwrap().clone();
    assert_eq!(widest(&|info| fields(&info["env"])), 41);
    assert_eq!(widest(&|info| nodes(info).iter().map(fields).max().unwrap()), 53);

    let count = infos.len();
    let node_bytes: usize =
        infos.iter().flat_map(nodes).map(|node| node.to_string().len()).sum::<usize>()
            / (2 * count);
    let all_bytes = listing.to_string().len() / count;
    let env_bytes = all_bytes - 2 * node_bytes;
    assert!((1200..1450).contains(&node_bytes), "a node has {node_bytes} bytes");
    assert!((1200..1600).contains(&env_bytes), "an environment has {env_bytes} bytes");
}

#[tokio::test]
async fn secrets_are_on_the_wire_for_a_mirror_to_drop() {
    let mut options = super::options(1, 4);
    options.wide = true;
    let simulator = simulator(options).await;
    let listing = own(&simulator, GETENVS, &[]).await.to_string();
    assert!(listing.contains("\"password\":\"pw-"));
    assert!(listing.contains("DB_PASSWORD=secret-"));
}
