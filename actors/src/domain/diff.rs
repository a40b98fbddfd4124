//! Field-level changes: RFC 6902 patches from one payload to the next, and
//! their undo.

use serde_json::Value;

/// A change of one payload, both ways, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the old payload to the new one.
    pub patch: Box<str>,
    /// From the new payload to the old one.
    pub undo: Box<str>,
}

/// A payload or a patch could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// Not JSON.
    #[error("the {what} is not usable JSON: {source}")]
    Json {
        /// Which text.
        what: &'static str,
        /// What the parser says; it names places, not values.
        source: serde_json::Error,
    },
    /// The patch belongs to another payload.
    #[error("the patch does not fit the payload (operation {operation})")]
    Mismatch {
        /// Which operation failed, from 0.
        operation: usize,
    },
}

/// The change from one payload to the next; `None` when they say the same.
pub fn between(old: &str, new: &str) -> Result<Option<Change>, DiffError> {
    let old = parse("old payload", old)?;
    let new = parse("new payload", new)?;
    if old == new {
        return Ok(None);
    }
    let patch = text(&json_patch::diff(&old, &new))?;
    let undo = text(&json_patch::diff(&new, &old))?;
    Ok(Some(Change { patch, undo }))
}

/// Applies patches to a payload, in the order given. For history the undo
/// patches go newest first.
pub fn apply<'a>(
    payload: &str,
    patches: impl IntoIterator<Item = &'a str>,
) -> Result<Value, DiffError> {
    let mut value = parse("payload", payload)?;
    for patch in patches {
        let patch: json_patch::Patch = serde_json::from_str(patch)
            .map_err(|source| DiffError::Json { what: "patch", source })?;
        json_patch::patch(&mut value, &patch)
            .map_err(|error| DiffError::Mismatch { operation: error.operation })?;
    }
    Ok(value)
}

fn parse(what: &'static str, text: &str) -> Result<Value, DiffError> {
    serde_json::from_str(text).map_err(|source| DiffError::Json { what, source })
}

fn text(patch: &json_patch::Patch) -> Result<Box<str>, DiffError> {
    let text =
        serde_json::to_string(patch).map_err(|source| DiffError::Json { what: "patch", source })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c~/]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                // Few names, also those that a pointer must escape.
                prop::collection::vec(("[a-c~/]{0,2}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_change_names_its_fields_only() {
        let change = between(r#"{"a":1,"b":{"c":[1,2]}}"#, r#"{"a":1,"b":{"c":[1,3]}}"#)
            .expect("JSON")
            .expect("a change");
        assert_eq!(change.patch.as_ref(), r#"[{"op":"replace","path":"/b/c/1","value":3}]"#);
        assert_eq!(change.undo.as_ref(), r#"[{"op":"replace","path":"/b/c/1","value":2}]"#);
    }

    #[test]
    fn spelling_is_no_change() {
        assert_eq!(between(r#"{"b":1,"a":2}"#, r#"{ "a":2, "b":1 }"#).expect("JSON"), None);
    }

    #[test]
    fn a_patch_of_another_payload_is_refused_without_showing_it() {
        let patch = r#"[{"op":"remove","path":"/secret"}]"#;
        let refused = apply("{}", [patch]).expect_err("no such field").to_string();
        assert!(!refused.contains("secret"), "{refused}");
        assert!(matches!(apply("{", []), Err(DiffError::Json { what: "payload", .. })));
        assert!(matches!(apply("{}", ["{}"]), Err(DiffError::Json { what: "patch", .. })));
    }

    proptest! {
        #[test]
        fn a_patch_leads_there_and_its_undo_back(old in value(), new in value()) {
            let (old_text, new_text) = (old.to_string(), new.to_string());
            match between(&old_text, &new_text).expect("JSON") {
                None => prop_assert_eq!(old, new),
                Some(change) => {
                    prop_assert_eq!(&apply(&old_text, [change.patch.as_ref()]).expect("fits"), &new);
                    prop_assert_eq!(&apply(&new_text, [change.undo.as_ref()]).expect("fits"), &old);
                }
            }
        }

        #[test]
        fn undone_newest_first_history_comes_back(states in prop::collection::vec(value(), 2..6)) {
            let mut undo = Vec::new();
            for pair in states.windows(2) {
                let change = between(&pair[0].to_string(), &pair[1].to_string()).expect("JSON");
                undo.extend(change.map(|change| change.undo));
            }
            let newest = states[states.len() - 1].to_string();
            let first = apply(&newest, undo.iter().rev().map(AsRef::as_ref)).expect("fits");
            prop_assert_eq!(first, json!(states[0]));
        }
    }
}
