//! A rendered listing, kept as the bytes that go out.
//!
//! An unchanged listing is served as it is. After a change only the changed environments are
//! rendered; the bytes of the others are copied from the previous body.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::estate::Environment;

const HEAD: &[u8] = br#"{"result":0,"infos":["#;
const TAIL: &[u8] = b"]}";

/// Where one environment stands in the body.
#[derive(Debug, Clone, Copy)]
struct Part {
    ordinal: u64,
    version: u64,
    start: usize,
    end: usize,
}

/// One rendered form of an account's environments. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// The estate's version that this shows; `None` before the first rendering.
    version: Option<u64>,
    body: Bytes,
    parts: Arc<[Part]>,
}

impl Listing {
    pub(crate) fn shows(&self, version: u64) -> bool {
        self.version == Some(version)
    }

    /// The whole answer.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// How many environments it holds.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The elements of `infos`, each as a slice of the body.
    pub(crate) fn elements(&self) -> Vec<Bytes> {
        self.parts.iter().map(|part| self.body.slice(part.start..part.end)).collect()
    }

    /// The same environments at `version`, rendering only what this listing does not show yet.
    pub(crate) fn refreshed(
        &self,
        environments: &BTreeMap<u64, Environment>,
        version: u64,
        render: impl Fn(&Environment, &mut Vec<u8>),
    ) -> Self {
        let mut body = Vec::with_capacity(self.body.len() + 16_384);
        let mut parts = Vec::with_capacity(environments.len());
        let mut known = self.parts.iter().peekable();
        body.extend_from_slice(HEAD);
        for (&ordinal, environment) in environments {
            if !parts.is_empty() {
                body.push(b',');
            }
            while known.next_if(|part| part.ordinal < ordinal).is_some() {}
            let start = body.len();
            match known.next_if(|part| part.ordinal == ordinal) {
                Some(part) if part.version == environment.version => {
                    body.extend_from_slice(&self.body[part.start..part.end]);
                }
                _ => render(environment, &mut body),
            }
            if parts.is_empty() && self.parts.is_empty() {
                // Growing a big body by doubling would take twice its size.
                body.reserve((body.len() - start) * environments.len());
            }
            let end = body.len();
            parts.push(Part { ordinal, version: environment.version, start, end });
        }
        body.extend_from_slice(TAIL);
        Self { version: Some(version), body: Bytes::from(body), parts: parts.into() }
    }
}

/// Puts elements into the envelope of a listing.
pub(crate) fn envelope(elements: &[Bytes]) -> Bytes {
    let size = elements.iter().map(|element| element.len() + 1).sum::<usize>();
    let mut body = Vec::with_capacity(HEAD.len() + size + TAIL.len());
    body.extend_from_slice(HEAD);
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(element);
    }
    body.extend_from_slice(TAIL);
    Bytes::from(body)
}
