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

/// Appends a string with its quotes.
pub(super) fn write(text: &str, out: &mut String) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        start = at + 1;
        if escape.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[start..]);
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
