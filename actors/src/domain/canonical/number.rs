//! The one form of a number.

use std::fmt::Write as _;

/// Integers longer than this are nonsense that Postgres need not store.
const MAX_DIGITS: usize = 128;

/// Doubles below this count whole numbers exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Appends a number that follows JSON's grammar in canonical form; `false`
/// when it is too large to store.
pub(super) fn write(source: &str, out: &mut String) -> bool {
    if source.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        out.push_str(if source == "-0" { "0" } else { source });
        return source.len() <= MAX_DIGITS;
    }
    // std reads doubles exactly and prints the shortest text that reads back.
    let Ok(value) = source.parse::<f64>() else { return false };
    if !value.is_finite() {
        return false;
    }
    if value.fract() == 0.0 && value.abs() < EXACT {
        write!(out, "{}", value as i64).is_ok()
    } else {
        write!(out, "{value:?}").is_ok()
    }
}

/// The end of the number that starts at `at`, if one does.
pub(super) fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut at = digits(start)?;
    if bytes[start] == b'0' && at > start + 1 {
        return None;
    }
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Some(at)
}
