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
