//! What never leaves the adapter: secrets, and the fields that only some methods answer with.
//!
//! GetBasicEnvsInfo leaves out `endpoints`, `packages` and the docker parts; every reader drops
//! them, else a full and a delta would give one node two versions.

use super::json::Json;

/// Members of an element that belong to its envelope and not to the environment.
const ENVELOPE: [&str; 8] =
    ["debug", "error", "errOut", "out", "reason", "response", "result", "source"];

/// Members of a node that GetBasicEnvsInfo does not have, and what can hold secrets.
const NODE: [&str; 5] = ["endpoints", "env", "envVars", "packages", "password"];

/// The same of a node's `customitem`.
const CUSTOM_ITEM: [&str; 5] =
    ["dockerEnv", "dockerManifest", "dockerVolumes", "dockerVolumesFrom", "env"];

/// Parts of names under which texts, lists and objects are secrets, wherever they stand. Flags
/// such as `isResetPassword` are booleans and stay.
const SECRET: [&str; 8] =
    ["password", "passwd", "secret", "token", "session", "privatekey", "apikey", "credential"];

/// An element of a listing, or an outline, without what must not be kept.
pub(super) fn environment(mut tree: Json<'_>) -> Json<'_> {
    if let Json::Object(members) = &mut tree {
        members.retain(|(key, _)| !ENVELOPE.contains(&key.as_ref()));
        for (key, value) in members.iter_mut() {
            match value {
                Json::List(nodes) if key == "nodes" => nodes.iter_mut().for_each(strip_node),
                other => strip_secrets(other),
            }
        }
        members.retain(|(key, value)| !is_secret(key, value));
    }
    tree
}

/// One node, or an action, without what must not be kept.
pub(super) fn node(mut tree: Json<'_>) -> Json<'_> {
    strip_node(&mut tree);
    tree
}

/// Anything else, without its secrets.
pub(super) fn secrets(mut tree: Json<'_>) -> Json<'_> {
    strip_secrets(&mut tree);
    tree
}

fn strip_node(node: &mut Json<'_>) {
    if let Json::Object(members) = node {
        members.retain(|(key, _)| !NODE.contains(&key.as_ref()));
        for (key, value) in members.iter_mut() {
            if let Json::Object(custom) = value
                && key == "customitem"
            {
                custom.retain(|(key, _)| !CUSTOM_ITEM.contains(&key.as_ref()));
            }
        }
    }
    strip_secrets(node);
}

fn strip_secrets(value: &mut Json<'_>) {
    match value {
        Json::List(items) => items.iter_mut().for_each(strip_secrets),
        Json::Object(members) => {
            members.retain(|(key, value)| !is_secret(key, value));
            for (_, value) in members {
                strip_secrets(value);
            }
        }
        _ => {}
    }
}

fn is_secret(key: &str, value: &Json<'_>) -> bool {
    let holds = matches!(value, Json::Text(_) | Json::List(_) | Json::Object(_));
    holds && {
        let key = key.as_bytes();
        SECRET.iter().any(|part| {
            key.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
        })
    }
}
