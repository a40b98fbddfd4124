//! What each fault does, in the order in which an answer comes about: instead of it, to the
//! elements of a listing, to the answer's JSON, and to the way it is sent. A fault that has no
//! business in a phase leaves it alone.

use std::time::Duration;

use axum::http::{StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};

use super::fault::{Fault, HangAt};
use super::methods::{Method, failure, not_allowed, not_authenticated};
use super::reply::{Delivery, Reply};

/// The uid of the account whose environments a collaborator's key shows among its own, relative
/// to the key's.
const FOREIGN: i64 = 1_000_000;

/// Waits before anything is answered; a hang before the head never ends.
pub(super) async fn wait(fault: &Fault) {
    match fault {
        Fault::DelayMs { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Fault::Hang { at: HangAt::Headers } => std::future::pending().await,
        _ => {}
    }
}

/// By how much the clock is wrong.
pub(super) fn skew(faults: &[Fault]) -> i64 {
    let skews = faults.iter().map(|fault| match fault {
        Fault::ClockSkew { seconds } => *seconds,
        _ => 0,
    });
    skews.sum()
}

/// What is answered instead, without asking the world.
pub(super) fn instead(fault: &Fault, method: Method, session: &str) -> Option<Reply> {
    let said = |value: Value| Some(Reply::json(value.to_string()));
    match fault {
        Fault::Status { code, retry_after } => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY);
            let reply = Reply::page(status);
            Some(match retry_after {
                Some(seconds) => reply.with_header(header::RETRY_AFTER, seconds.to_string()),
                None => reply,
            })
        }
        Fault::Result { code, error } => {
            said(failure(*code, error.as_deref().unwrap_or("simulated failure")))
        }
        Fault::Nested { code } => {
            said(json!({"result": 0, "response": failure(*code, "simulated inner failure")}))
        }
        Fault::Html => Some(Reply::page(StatusCode::OK)),
        Fault::Redirect { location } => {
            Some(Reply::page(StatusCode::FOUND).with_header(header::LOCATION, location))
        }
        Fault::Expired => said(not_authenticated(session)),
        Fault::NotAllowed => said(not_allowed(method)),
        _ => None,
    }
}

/// Whether the fault works on the elements of a listing, so that they have to be taken apart.
pub(super) fn is_for_elements(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::EmptyList
            | Fault::DropFraction { .. }
            | Fault::Duplicate { .. }
            | Fault::MalformedElement { .. }
            | Fault::NodesMissing { .. }
            | Fault::UnknownStatus { .. }
            | Fault::Nul
            | Fault::BadUtf8
            | Fault::Deep { .. }
            | Fault::Collaborator { .. }
    )
}

/// What happens to the elements of a listing.
pub(super) fn on_elements(fault: &Fault, elements: &mut Vec<Bytes>) {
    match fault {
        Fault::EmptyList => elements.clear(),
        Fault::DropFraction { fraction } => drop_fraction(elements, *fraction),
        Fault::Duplicate { count } => {
            let again = elements.iter().take(*count).cloned().collect::<Vec<_>>();
            elements.extend(again);
        }
        Fault::MalformedElement { n } => edit_first(elements, *n, |element| {
            element["env"]["status"] = json!({"unexpected": true});
            element["nodes"] = json!("none");
        }),
        Fault::NodesMissing { count } => edit_first(elements, *count, remove_nodes),
        Fault::UnknownStatus { code, count } => {
            edit_first(elements, *count, |element| element["env"]["status"] = json!(code));
        }
        Fault::Nul => {
            edit_first(elements, 1, |element| element["env"]["displayName"] = json!("a\0b"));
        }
        Fault::BadUtf8 => {
            edit_first(elements, 1, |element| element["env"]["displayName"] = json!("a~~b"));
            if let Some(first) = elements.first_mut() {
                let spoilt = first.iter().map(|&byte| if byte == b'~' { 0xFF } else { byte });
                *first = spoilt.collect::<Vec<_>>().into();
            }
        }
        Fault::Deep { levels } => {
            // Nested by hand: a Value this deep could not be dropped without a deep stack.
            if let Some(first) = elements.first_mut() {
                let mut deep = b"{\"deep\":".to_vec();
                deep.resize(deep.len() + levels, b'[');
                deep.resize(deep.len() + levels, b']');
                deep.push(b',');
                deep.extend_from_slice(&first[1..]);
                *first = deep.into();
            }
        }
        Fault::Collaborator { foreign, right } => {
            let mut others = elements.iter().take(*foreign).cloned().collect::<Vec<_>>();
            edit_first(&mut others, *foreign, make_foreign);
            if let Some(right) = right {
                edit_first(elements, 1, |element| element["right"] = json!(right));
            }
            elements.extend(others);
        }
        _ => {}
    }
}

/// Drops that part of the elements, spread evenly and the same ones each time, so that two
/// listings in a row agree on what is missing.
fn drop_fraction(elements: &mut Vec<Bytes>, fraction: f64) {
    let fraction = fraction.clamp(0.0, 1.0);
    let dropped_before = |place: usize| (place as f64 * fraction + 1e-9).floor();
    let mut place = 0;
    elements.retain(|_| {
        place += 1;
        dropped_before(place) <= dropped_before(place - 1)
    });
}

fn edit_first(elements: &mut [Bytes], count: usize, edit: impl Fn(&mut Value)) {
    for element in elements.iter_mut().take(count) {
        if let Ok(mut value) = serde_json::from_slice::<Value>(element) {
            edit(&mut value);
            *element = value.to_string().into();
        }
    }
}

fn remove_nodes(element: &mut Value) {
    if let Some(members) = element.as_object_mut() {
        members.remove("nodes");
    }
}

/// Makes an environment another account's: owner, appid and node ids differ.
fn make_foreign(element: &mut Value) {
    element["right"] = json!(super::world::COLLABORATOR);
    let env = &mut element["env"];
    env["uid"] = json!(env["uid"].as_i64().unwrap_or(0) + FOREIGN);
    for name in ["appid", "envName", "shortdomain", "domain"] {
        env[name] = json!(format!("f{}", &env[name].as_str().unwrap_or(" ")[1..]));
    }
    for node in element["nodes"].as_array_mut().into_iter().flatten() {
        node["id"] = json!(node["id"].as_i64().unwrap_or(0) + 1_000_000_000);
    }
}

/// What happens to the JSON of an answer.
pub(super) fn on_answer(fault: &Fault, method: Method, body: Bytes) -> Bytes {
    let is_listing = matches!(method, Method::GetEnvs | Method::GetBasicEnvsInfo);
    match fault {
        Fault::InfosMissing if is_listing => br#"{"result":0}"#.as_slice().into(),
        Fault::InfosNull if is_listing => br#"{"result":0,"infos":null}"#.as_slice().into(),
        Fault::InfosType if is_listing => br#"{"result":0,"infos":{"0":{}}}"#.as_slice().into(),
        Fault::NodesMissing { .. } if method == Method::GetEnvInfo => {
            let mut only = [body];
            edit_first(&mut only, 1, remove_nodes);
            let [body] = only;
            body
        }
        Fault::Collaborator { .. } => as_collaborator(method, body),
        _ => body,
    }
}

/// What the identity methods say to a key that is not the owner's.
fn as_collaborator(method: Method, body: Bytes) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(&body) else { return body };
    match method {
        Method::GetUserInfo | Method::Checksign => {
            value["uid"] = json!(value["uid"].as_i64().unwrap_or(0) + FOREIGN);
        }
        Method::GetCollaborations => value["isOwner"] = json!(false),
        _ => return body,
    }
    value.to_string().into()
}

/// What happens to the way an answer is sent.
pub(super) fn on_wire(fault: &Fault, mut reply: Reply) -> Reply {
    match fault {
        Fault::Truncate { bytes, clean: true } => reply.body.truncate(*bytes),
        Fault::Truncate { bytes, clean: false } => reply.delivery = Delivery::Broken(*bytes),
        Fault::Hang { at: HangAt::Body } => {
            reply.delivery = Delivery::Stuck(reply.body.len() / 2);
        }
        Fault::SlowDrip { bytes, interval_ms } => {
            reply.delivery = Delivery::Drip(*bytes, Duration::from_millis(*interval_ms));
        }
        Fault::Huge { bytes } => reply.delivery = Delivery::Padded(*bytes),
        Fault::GzipBomb { bytes } => reply.delivery = Delivery::Packed(*bytes),
        _ => {}
    }
    reply
}
