//! The one textual form of an item, and the version that is its hash.
//!
//! Canonical: keys sorted at every level by their UTF-8 bytes (which is code
//! point order; RFC 8785 sorts by UTF-16 units instead), no blanks, of a key
//! given twice the last one; integers as they were written, other numbers by
//! the shortest text that reads back as the same double, whole ones below 2^53
//! as integers; strings escaped only where JSON demands it.
//!
//! Secret and volatile fields are removed on the way, before anything is
//! hashed, stored or logged, and what jsonb cannot store is replaced: NUL and
//! lone surrogates by U+FFFD. The text is read in one pass and never becomes a
//! tree of values: a first load is bound by this function.

mod number;
mod redaction;
mod scan;
mod text;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::item::{RawVersion, SourceVersion};
use redaction::KeyRules;
pub use redaction::RedactionRules;
pub use scan::{CanonicalError, Problem};

/// Writes canonical forms under one set of rules, and remembers what the rules
/// say of the names it met. Make one per listing, not one per item.
#[derive(Debug, Clone)]
pub struct Canonicaliser {
    rules: KeyRules,
}

impl Canonicaliser {
    /// Works by these rules.
    pub fn new(rules: RedactionRules) -> Self {
        Self { rules: KeyRules::new(rules) }
    }

    /// Writes a JSON text in canonical form.
    pub fn write(&mut self, json: &str) -> Result<Box<str>, CanonicalError> {
        scan::Scan::new(json, &mut self.rules).run().map(String::into_boxed_str)
    }
}

/// Writes a JSON text in canonical form, redacted by the rules.
pub fn canonical(json: &str, rules: &RedactionRules) -> Result<Box<str>, CanonicalError> {
    Canonicaliser::new(rules.clone()).write(json)
}

/// A redacted form of what could not be read, for quarantine: canonical where
/// it is JSON, else nothing but its length, and never longer than `cap` bytes.
pub fn redacted(json: &str, rules: &RedactionRules, cap: usize) -> String {
    match canonical(json, rules) {
        Ok(text) => match text::cut(&text, cap) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        },
        Err(error) => format!("({} bytes, not shown: {error})", json.len()),
    }
}

/// The version of a canonical text.
pub fn source_version(canonical: &str) -> SourceVersion {
    SourceVersion(Sha256::digest(canonical.as_bytes()).into())
}

impl SourceVersion {
    /// Reads the hex text that `Display` writes.
    pub fn from_hex(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self)
    }
}

impl RawVersion {
    /// Reads the hex text that `Display` writes.
    pub fn from_hex(hex: &str) -> Option<Self> {
        from_hex(hex).map(Self)
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
