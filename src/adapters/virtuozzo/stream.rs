//! Finds the elements of a listing in a body that arrives in pieces.
//!
//! It owns the place in the JSON text and the bytes of the one value that is being captured, so
//! memory is bounded by the largest element and not by the body. It follows structure only:
//! strings, nesting and the members of the top-level object. Whether an element is valid inside is
//! the parser's business, and a byte-equal element is never parsed at all.
//!
//! Deliberately absent: recursion, and any opinion on what the values mean.

use std::ops::Range;

use memchr::memchr2;

/// Most bytes of `result`, `error` or a nested `response` that are kept.
const SMALL_CAP: usize = 64 * 1024;
/// Longest key of the top-level object.
const KEY_CAP: usize = 1024;
/// Levels whose kind of bracket is checked; deeper ones are only counted.
const CHECKED_LEVELS: u32 = 128;

/// What the next call found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A whole element of `infos`.
    Element(&'a [u8]),
    /// An element longer than the cap; its bytes were dropped.
    Oversize,
    /// The chunk is used up.
    NeedMore,
    /// The text is no JSON object, or stopped being one here.
    Broken,
}

/// What the top-level object said about `infos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Infos {
    /// No such key so far.
    Absent,
    /// An array.
    List,
    /// Null, or a value of another type.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start { bom: u8 },
    FirstKey,
    NextKey,
    Key { escaped: bool },
    Colon,
    Value,
    Skim,
    AfterMember,
    FirstElement,
    NextElement,
    AfterElement,
    Closed,
    Broken,
}

/// What the value under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Ignored,
    Element,
    Small(usize),
}

/// The shape of the value under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Nested,
    Scalar,
}

/// Names of the members that are kept besides `infos`, in the order of `Scanner::small`.
const SMALL: [&[u8]; 3] = [b"result", b"error", b"response"];

/// The incremental scanner. Feed it each chunk until it needs more.
pub(super) struct Scanner {
    state: State,
    target: Target,
    shape: Shape,
    depth: u32,
    objects: u128,
    in_string: bool,
    escaped: bool,
    carry: Vec<u8>,
    spilled: bool,
    key: Vec<u8>,
    small: [Option<Box<[u8]>>; 3],
    infos: Infos,
    cap: usize,
    markup: bool,
}

enum Found {
    Within(Range<usize>),
    Carried,
    Oversize,
}

impl Scanner {
    /// A scanner that keeps elements of at most `cap` bytes.
    pub(super) fn new(cap: usize) -> Self {
        Self {
            state: State::Start { bom: 0 },
            target: Target::Ignored,
            shape: Shape::Scalar,
            depth: 0,
            objects: 0,
            in_string: false,
            escaped: false,
            carry: Vec::new(),
            spilled: false,
            key: Vec::new(),
            small: [None, None, None],
            infos: Infos::Absent,
            cap,
            markup: false,
        }
    }

    /// Whether the top-level object closed and nothing but blanks followed.
    pub(super) fn closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether the text began like a page of markup.
    pub(super) fn markup(&self) -> bool {
        self.markup
    }

    /// What was said about `infos`.
    pub(super) fn infos(&self) -> Infos {
        self.infos
    }

    /// The bytes of `result`.
    pub(super) fn result(&self) -> Option<&[u8]> {
        self.small[0].as_deref()
    }

    /// The bytes of `error`.
    pub(super) fn error(&self) -> Option<&[u8]> {
        self.small[1].as_deref()
    }

    /// The bytes of a nested `response`.
    pub(super) fn response(&self) -> Option<&[u8]> {
        self.small[2].as_deref()
    }

    /// Goes on at `chunk[*at..]` up to the end of the next element or of the chunk.
    pub(super) fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Step<'a> {
        match self.advance(chunk, at) {
            Some(Found::Within(range)) => Step::Element(&chunk[range]),
            Some(Found::Carried) => Step::Element(&self.carry),
            Some(Found::Oversize) => Step::Oversize,
            None if self.state == State::Broken => Step::Broken,
            None => Step::NeedMore,
        }
    }

    fn advance(&mut self, chunk: &[u8], at: &mut usize) -> Option<Found> {
        while *at < chunk.len() {
            if self.state == State::Skim {
                if let Some(found) = self.skim(chunk, at) {
                    return Some(found);
                }
                continue;
            }
            if let State::Key { escaped } = self.state {
                self.key_byte(chunk[*at], escaped);
                *at += 1;
                continue;
            }
            let byte = chunk[*at];
            if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') && !self.inside_bom() {
                *at += 1;
                continue;
            }
            // A scalar begins with this very byte, so `between` says whether it was used up.
            if self.between(byte) {
                *at += 1;
            }
            if self.state == State::Broken {
                return None;
            }
        }
        None
    }

    fn inside_bom(&self) -> bool {
        matches!(self.state, State::Start { bom: 1 | 2 })
    }

    /// One byte between values; answers whether it was used up.
    fn between(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            (State::Start { bom: 0 }, 0xEF) => State::Start { bom: 1 },
            (State::Start { bom: 1 }, 0xBB) => State::Start { bom: 2 },
            (State::Start { bom: 2 }, 0xBF) => State::Start { bom: 3 },
            (State::Start { bom: 0 | 3 }, b'{') => State::FirstKey,
            (State::Start { .. }, b'<') => {
                self.markup = true;
                State::Broken
            }
            (State::FirstKey | State::NextKey, b'"') => {
                self.key.clear();
                State::Key { escaped: false }
            }
            (State::FirstKey | State::AfterMember, b'}') => State::Closed,
            (State::Colon, b':') => State::Value,
            (State::AfterMember, b',') => State::NextKey,
            (State::AfterElement, b',') => State::NextElement,
            (State::FirstElement | State::AfterElement, b']') => State::AfterMember,
            (State::Value, _) => return self.member(byte),
            (State::FirstElement | State::NextElement, _) => {
                return self.begin(byte, Target::Element);
            }
            _ => State::Broken,
        };
        true
    }

    fn key_byte(&mut self, byte: u8, escaped: bool) {
        self.state = match byte {
            b'"' if !escaped => State::Colon,
            _ if self.key.len() == KEY_CAP => State::Broken,
            _ => {
                self.key.push(byte);
                State::Key { escaped: byte == b'\\' && !escaped }
            }
        };
    }

    /// The first byte of a member's value.
    fn member(&mut self, byte: u8) -> bool {
        if self.key.contains(&b'\\') {
            let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
            let Ok(plain) = serde_json::from_slice::<String>(&quoted) else {
                self.state = State::Broken;
                return true;
            };
            self.key = plain.into_bytes();
        }
        if self.key == b"infos" {
            // Which of two lists would count is anyone's guess.
            if self.infos != Infos::Absent {
                self.state = State::Broken;
                return true;
            }
            if byte == b'[' {
                self.infos = Infos::List;
                self.state = State::FirstElement;
                return true;
            }
            self.infos = Infos::Other;
            return self.begin(byte, Target::Ignored);
        }
        let small = SMALL.iter().position(|name| *name == self.key);
        self.begin(byte, small.map_or(Target::Ignored, Target::Small))
    }

    /// Begins a value. Its first byte is left to [`Self::skim`], so that it is captured.
    fn begin(&mut self, byte: u8, target: Target) -> bool {
        self.shape = match byte {
            b'"' => Shape::Text,
            b'{' | b'[' => Shape::Nested,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Shape::Scalar,
            _ => {
                self.state = State::Broken;
                return true;
            }
        };
        self.target = target;
        self.depth = 0;
        self.in_string = false;
        self.escaped = false;
        self.spilled = false;
        self.carry.clear();
        self.state = State::Skim;
        false
    }

    /// Follows the value under way. `None` with the chunk used up, or the value was no element.
    fn skim(&mut self, chunk: &[u8], at: &mut usize) -> Option<Found> {
        let from = *at;
        let end = match self.shape {
            Shape::Scalar => chunk[from..]
                .iter()
                .position(
                    |byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'.' | b'-' | b'+'),
                )
                .map(|length| from + length),
            Shape::Text | Shape::Nested => self.skim_nested(chunk, from),
        };
        let Some(end) = end else {
            *at = chunk.len();
            if self.state != State::Broken {
                self.keep(&chunk[from..]);
            }
            return None;
        };
        *at = end;
        self.finish(chunk, from, end)
    }

    fn finish(&mut self, chunk: &[u8], from: usize, end: usize) -> Option<Found> {
        let whole = self.carry.is_empty() && !self.spilled;
        match self.target {
            Target::Ignored => {
                self.state = State::AfterMember;
                None
            }
            Target::Small(index) => {
                self.keep(&chunk[from..end]);
                self.small[index] = (!self.spilled).then(|| self.carry.as_slice().into());
                self.state = State::AfterMember;
                None
            }
            Target::Element => {
                self.state = State::AfterElement;
                if whole && end - from <= self.cap {
                    return Some(Found::Within(from..end));
                }
                self.keep(&chunk[from..end]);
                Some(if self.spilled { Found::Oversize } else { Found::Carried })
            }
        }
    }

    /// Keeps a part of the value under way, or drops it all once it is too long.
    fn keep(&mut self, part: &[u8]) {
        let cap = match self.target {
            Target::Ignored => return,
            Target::Small(_) => SMALL_CAP,
            Target::Element => self.cap,
        };
        if self.spilled || self.carry.len() + part.len() > cap {
            self.spilled = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(part);
        }
    }

    /// The end of a string or of a nested value, if it lies in this chunk.
    fn skim_nested(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < chunk.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                let step = memchr2(b'"', b'\\', &chunk[at..])?;
                at += step + 1;
                if chunk[at - 1] == b'\\' {
                    self.escaped = true;
                    continue;
                }
                self.in_string = false;
                if self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            at += chunk[at..].iter().position(|byte| STRUCTURAL[usize::from(*byte)])? + 1;
            match chunk[at - 1] {
                b'"' => self.in_string = true,
                open @ (b'{' | b'[') => self.open(open == b'{'),
                close => {
                    if !self.close(close == b'}') {
                        self.state = State::Broken;
                        return None;
                    }
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
            }
        }
        None
    }

    fn open(&mut self, object: bool) {
        if self.depth < CHECKED_LEVELS {
            let bit = 1_u128 << self.depth;
            self.objects = if object { self.objects | bit } else { self.objects & !bit };
        }
        // A body is far shorter than the counter's range.
        self.depth += 1;
    }

    fn close(&mut self, object: bool) -> bool {
        self.depth -= 1;
        self.depth >= CHECKED_LEVELS || (self.objects >> self.depth & 1 == 1) == object
    }
}

/// Bytes that matter outside of strings.
const STRUCTURAL: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"\"{}[]";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests;
