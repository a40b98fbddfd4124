//! Bounds the nesting of a text before a parser sees it.
//!
//! The parser skips values by recursion, without a limit of its own: an answer of a hundred
//! thousand brackets would exhaust the stack, and with it the process. What lies too deep is cut
//! out here. Enough is left for the canonical form to refuse the element all the same, and for its
//! identifier to be read.

use std::borrow::Cow;

/// Levels that are left; beyond the 128 that the canonical form takes, also for a node within its
/// environment.
const MOST: usize = 160;

/// The text with `null` in place of everything that is nested deeper.
pub(super) fn bounded(text: Cow<'_, str>) -> Cow<'_, str> {
    // Most elements do not have so many brackets at all, which is quicker to see.
    let opening = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if opening <= MOST || deepest(&text) <= MOST {
        return text;
    }
    Cow::Owned(cut(&text))
}

/// Follows strings and brackets; told each byte with the depth behind it.
fn walk(text: &str, mut visit: impl FnMut(usize, u8, usize)) {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        visit(at, byte, depth);
    }
}

fn deepest(text: &str) -> usize {
    let mut deepest = 0;
    walk(text, |_, _, depth| deepest = deepest.max(depth));
    deepest
}

fn cut(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(64 * 1024));
    // Where the part begins that is copied next, unless something is being left out.
    let (mut from, mut leaving_out) = (0, false);
    walk(text, |at, _, depth| {
        if !leaving_out && depth > MOST {
            kept.push_str(&text[from..at]);
            kept.push_str("null");
            leaving_out = true;
        } else if leaving_out && depth <= MOST {
            from = at + 1;
            leaving_out = false;
        }
    });
    if !leaving_out {
        kept.push_str(&text[from..]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize, inner: &str) -> String {
        format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_deep_is_cut_out_and_nothing_else() {
        let deep = nested(100_000, r#""]""#);
        let text = format!(r#"{{"a":{deep},"b":[1,"[{{\"",{deep}],"ü":2}}"#);
        let left = bounded(Cow::Borrowed(text.as_str()));
        let at = |depth: usize| nested(MOST - depth, "null");
        assert_eq!(left, format!(r#"{{"a":{},"b":[1,"[{{\"",{}],"ü":2}}"#, at(1), at(2)));
        assert_eq!(deepest(&left), MOST);
    }

    #[test]
    fn what_is_not_is_left_alone() {
        let wide = format!("[{}1]", nested(MOST - 1, "").repeat(3).replace("][", "],["));
        for text in [nested(MOST, "1"), wide, r#""[[[""#.repeat(1000), String::new()] {
            assert!(matches!(bounded(Cow::Borrowed(text.as_str())), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn texts_that_end_in_the_middle_are_bounded_too() {
        for text in ["[".repeat(100_000), "]".repeat(100_000), format!("{}\"", "{".repeat(200))] {
            assert!(deepest(&bounded(Cow::Owned(text))) <= MOST);
        }
    }
}
