//! Reads a body that is in memory already, as far as it is told to, so that a bench can say what
//! each stage of reading costs. The stages are the ones that a listing goes through; nothing here
//! is a second way to read one.

use vz_sync_actors::domain::Baseline;
use vz_sync_actors::domain::item::Element;

use super::client::GET_BASIC_ENVS_INFO;
use super::element::{RawHasher, Reader};
use super::stream::{Scanner, Step};

/// How far a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Elements are found.
    Found,
    /// And hashed as received.
    Hashed,
    /// And parsed, canonicalised and versioned where their bytes are not known.
    Read,
}

/// Feeds `body` in pieces of `chunk` bytes and hands on what `depth` gives; answers how many
/// elements there were.
pub fn read_body(
    body: &[u8],
    chunk: usize,
    depth: Depth,
    (key, owner): (&[u8], i64),
    baseline: &Baseline,
    mut sink: impl FnMut(Element),
) -> u64 {
    let hasher = RawHasher::new(key).tagged(GET_BASIC_ENVS_INFO.name);
    let mut reader = Reader::new(hasher.clone(), Some(owner), baseline);
    let mut scanner = Scanner::new(16 * 1024 * 1024);
    let mut elements = 0;
    for piece in body.chunks(chunk) {
        let mut at = 0;
        while let Step::Element(bytes) = scanner.next(piece, &mut at) {
            elements += 1;
            match depth {
                Depth::Found => {}
                Depth::Hashed => drop(std::hint::black_box(hasher.version(bytes))),
                Depth::Read => sink(reader.read(bytes).element),
            }
        }
    }
    elements
}
