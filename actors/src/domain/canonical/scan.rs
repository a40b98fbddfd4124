//! Reads a JSON text and writes its canonical form, in one pass.
//!
//! Members are written in the order in which they come; only an object whose
//! keys were not in order is put in order afterwards, by moving its written
//! members.

use std::borrow::Cow;

use super::redaction::{KeyRules, Verdict};
use super::{number, text};

/// Nesting deeper than this is refused, as serde_json does.
const MAX_DEPTH: usize = 128;

/// Why a text has no canonical form. Tells the place, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct CanonicalError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// What can be wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON.
    #[error("unexpected character or end")]
    Syntax,
    /// Nested too deeply.
    #[error("nested deeper than 128 levels")]
    TooDeep,
    /// A number that cannot be stored.
    #[error("number too large to store")]
    Number,
}

/// A member that was written.
struct Member<'a> {
    key: Cow<'a, str>,
    start: usize,
    end: usize,
}

pub(super) struct Scan<'a, 'r> {
    source: &'a str,
    at: usize,
    out: String,
    rules: &'r mut KeyRules,
    /// Members of the objects that are open, innermost last.
    members: Vec<Member<'a>>,
    scratch: String,
}

type Scanned<T = ()> = Result<T, CanonicalError>;

impl<'a, 'r> Scan<'a, 'r> {
    pub(super) fn new(source: &'a str, rules: &'r mut KeyRules) -> Self {
        Self {
            source,
            at: 0,
            out: String::with_capacity(source.len()),
            rules,
            members: Vec::new(),
            scratch: String::new(),
        }
    }

    pub(super) fn run(mut self) -> Scanned<String> {
        self.value(0, 0)?;
        self.blanks();
        if self.at == self.source.len() { Ok(self.out) } else { Err(self.wrong(Problem::Syntax)) }
    }

    fn value(&mut self, depth: usize, open: u32) -> Scanned {
        self.blanks();
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err(self.wrong(Problem::TooDeep)),
            Some(b'{') => self.object(depth + 1, open),
            Some(b'[') => self.array(depth + 1, open),
            Some(b'"') => {
                let content = self.string()?;
                text::write(&content, self.rules.rules().max_string(), &mut self.out);
                Ok(())
            }
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong(Problem::Syntax)),
        }
    }

    fn array(&mut self, depth: usize, open: u32) -> Scanned {
        self.at += 1;
        self.out.push('[');
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.out.push(']');
            return Ok(());
        }
        loop {
            self.value(depth, open)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.out.push(','),
                Some(b']') => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                _ => return Err(self.wrong(Problem::Syntax)),
            }
            self.at += 1;
        }
    }

    fn object(&mut self, depth: usize, open: u32) -> Scanned {
        self.at += 1;
        self.out.push('{');
        let first = self.members.len();
        let content = self.out.len();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.out.push('}');
            return Ok(());
        }
        let mut sorted = true;
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong(Problem::Syntax));
            }
            let key = self.string()?;
            let key = match text::cut(&key, self.rules.rules().max_string()) {
                Cow::Owned(short) => Cow::Owned(short),
                Cow::Borrowed(_) => key,
            };
            self.blanks();
            self.expect(b':')?;
            sorted &= self.member(key, depth, open, first, content)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.wrong(Problem::Syntax)),
            }
        }
        self.at += 1;
        if !sorted {
            self.sort(first, content);
        }
        self.members.truncate(first);
        self.out.push('}');
        Ok(())
    }

    /// Writes one member unless it is to be removed; answers whether the
    /// object's keys are in order so far.
    fn member(
        &mut self,
        key: Cow<'a, str>,
        depth: usize,
        open: u32,
        first: usize,
        content: usize,
    ) -> Scanned<bool> {
        let before = self.out.len();
        let rule = self.rules.of(&key);
        let verdict = if open & rule.closes == 0 { rule.verdict } else { Verdict::Remove };
        let below = open | rule.opens;
        if before > content {
            self.out.push(',');
        }
        let start = self.out.len();
        text::write(&key, usize::MAX, &mut self.out);
        self.out.push(':');
        self.blanks();
        let flag = matches!(self.peek(), Some(b't' | b'f' | b'n'));
        // A value that is to be removed is still read: what follows it counts.
        self.value(depth, below)?;
        if verdict == Verdict::Remove || (verdict == Verdict::RemoveUnlessFlag && !flag) {
            self.out.truncate(before);
            return Ok(true);
        }
        let in_order = match self.members[first..].last() {
            Some(last) => last.key < key,
            None => true,
        };
        self.members.push(Member { key, start, end: self.out.len() });
        Ok(in_order)
    }

    /// Puts the members since `first`, written since `content`, in order; of
    /// a key given twice the last one stays.
    fn sort(&mut self, first: usize, content: usize) {
        self.members[first..].sort_by(|a, b| a.key.cmp(&b.key));
        self.scratch.clear();
        for (index, member) in self.members[first..].iter().enumerate() {
            let next = self.members.get(first + index + 1);
            if next.is_some_and(|next| next.key == member.key) {
                continue;
            }
            if !self.scratch.is_empty() {
                self.scratch.push(',');
            }
            self.scratch.push_str(&self.out[member.start..member.end]);
        }
        self.out.truncate(content);
        self.out.push_str(&self.scratch);
    }

    /// Reads a string; borrows it where it holds no escape.
    fn string(&mut self) -> Scanned<Cow<'a, str>> {
        self.at += 1;
        let bytes = self.source.as_bytes();
        let mut start = self.at;
        let mut owned: Option<String> = None;
        loop {
            self.at += text::plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    let tail = &self.source[start..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(tail),
                        Some(mut text) => {
                            text.push_str(tail);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_with(String::new);
                    text.push_str(&self.source[start..self.at]);
                    let rest = self.source.get(self.at + 1..).unwrap_or_default();
                    let Some(taken) = text::unescape(rest, text) else {
                        return Err(self.wrong(Problem::Syntax));
                    };
                    self.at += 1 + taken;
                    start = self.at;
                }
                _ => return Err(self.wrong(Problem::Syntax)),
            }
        }
    }

    fn number(&mut self) -> Scanned {
        let Some(end) = number::end(self.source.as_bytes(), self.at) else {
            return Err(self.wrong(Problem::Syntax));
        };
        if !number::write(&self.source[self.at..end], &mut self.out) {
            return Err(self.wrong(Problem::Number));
        }
        self.at = end;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Scanned {
        if self.source.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            self.out.push_str(word);
            Ok(())
        } else {
            Err(self.wrong(Problem::Syntax))
        }
    }

    fn expect(&mut self, byte: u8) -> Scanned {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong(Problem::Syntax))
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, problem: Problem) -> CanonicalError {
        CanonicalError { problem, at: self.at }
    }
}
