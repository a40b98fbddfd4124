//! The one form of a string.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Marks where a string was cut.
const CUT: char = '…';

/// The text, or its first bytes and a mark where it is longer than `cap`.
pub(super) fn cut(text: &str, cap: usize) -> Cow<'_, str> {
    if text.len() <= cap {
        return Cow::Borrowed(text);
    }
    let mut end = cap.saturating_sub(CUT.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = text[..end].to_owned();
    short.push(CUT);
    Cow::Owned(short)
}

/// How many of the first bytes stand for themselves within a string: none is a
/// quote, a backslash or a control character.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Marks the bytes that are zero; a borrow can only mark bytes above the first one.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let rest = words.len() * 8;
    let special = |byte: &u8| matches!(byte, 0..=0x1f | b'"' | b'\\');
    rest + bytes[rest..].iter().position(special).unwrap_or(bytes.len() - rest)
}

/// Appends a string with its quotes, cut where it is longer than `cap`.
pub(super) fn write(text: &str, cap: usize, out: &mut String) {
    let text = &*cut(text, cap);
    out.push('"');
    let mut rest = text;
    loop {
        let (head, tail) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(head);
        let Some(&byte) = tail.as_bytes().first() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x09 => out.push_str("\\t"),
            0x0a => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            0x0d => out.push_str("\\r"),
            control => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &tail[1..];
    }
    out.push('"');
}

/// Appends the meaning of the escape after a backslash; answers how many bytes
/// of `rest` it took, `None` when it is no escape. NUL and lone surrogates,
/// which jsonb cannot store, become U+FFFD.
pub(super) fn unescape(rest: &str, out: &mut String) -> Option<usize> {
    let bytes = rest.as_bytes();
    let plain = match bytes.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let (char, taken) = unicode(bytes)?;
            out.push(char);
            return Some(taken);
        }
        _ => return None,
    };
    out.push(plain);
    Some(1)
}

/// Reads `uXXXX`, or a surrogate pair of two.
fn unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex(bytes.get(1..5)?)?;
    if (0xd800..0xdc00).contains(&first) && bytes.get(5..7) == Some(b"\\u") {
        let second = bytes.get(7..11).and_then(hex);
        if let Some(second) = second.filter(|second| (0xdc00..0xe000).contains(second)) {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Some((char::from_u32(code)?, 11));
        }
    }
    let char = char::from_u32(first).filter(|char| *char != '\0');
    Some((char.unwrap_or(char::REPLACEMENT_CHARACTER), 5))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}
