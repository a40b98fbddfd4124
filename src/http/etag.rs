//! Entity tags over items and query, never over freshness.
//!
//! They are weak: the same tag may come with another `synced_at`, which
//! travels in headers on a 304 too.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use vz_sync_actors::ports::reads::ItemRow;

/// Builds a tag from what an answer consists of.
pub struct Tagger(Sha256);

impl Tagger {
    /// Starts with what was asked.
    pub fn new(path: &str, query: &str) -> Self {
        Self(Sha256::new()).part(path).part(query)
    }

    /// Adds a text; its length keeps neighbours apart.
    pub fn part(mut self, text: &str) -> Self {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
        self
    }

    /// Adds a row as far as it is the platform's, not the clock's.
    pub fn row(self, row: &ItemRow) -> Self {
        let flags = [
            u8::from(row.stale),
            u8::from(row.needs_validation),
            u8::from(row.missing_since.is_some()),
        ];
        let mut tagger = self.part(row.id.as_str()).part(&row.source_version).part(&row.columns);
        tagger.0.update(flags);
        tagger
    }

    /// The tag as a header value.
    pub fn finish(self) -> HeaderValue {
        let digest = self.0.finalize();
        let text = URL_SAFE_NO_PAD.encode(&digest[..16]);
        HeaderValue::from_str(&format!("W/\"{text}\""))
            .unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
    }
}

/// Whether the client has this very answer already.
pub fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = tag.to_str() else { return false };
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(
        |value| {
            value.trim() == "*"
                || value.split(',').any(|candidate| opaque(candidate) == opaque(tag))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_strong_spellings_of_a_tag_match() {
        let tag = Tagger::new("/a", "q=1").finish();
        let bare = tag.to_str().unwrap().trim_start_matches("W/").to_owned();
        for (text, expected) in [
            (tag.to_str().unwrap().to_owned(), true),
            (bare.clone(), true),
            (format!("\"x\", {bare}"), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, text.parse().unwrap())]);
            assert_eq!(matches(&headers, &tag), expected, "{text}");
        }
        assert!(!matches(&HeaderMap::new(), &tag));
        assert_ne!(Tagger::new("/a", "bc").finish(), Tagger::new("/ab", "c").finish());
    }
}
