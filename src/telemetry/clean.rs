//! Making hostile or careless text fit for a line.

use std::fmt::{self, Write};

/// Longest text of one field, in characters.
const MAX_CHARS: usize = 256;

/// Words before a value that must not be read; matched in any case.
const SECRET_WORDS: &[&str] =
    &["session", "password", "passwd", "secret", "token", "ticket", "apikey", "api_key", "jwt"];

/// Caps at 256 characters and replaces control characters, line separators and
/// direction overrides by blanks: no value can start a line or hide a part of one.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_CHARS));
    for (count, character) in text.chars().enumerate() {
        if count == MAX_CHARS {
            out.push('…');
            break;
        }
        out.push(if is_hostile(character) { ' ' } else { character });
    }
    out
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Blanks what looks like a secret in free text, such as an error chain of a library:
/// `session=...`, `"password": "..."`, `Bearer ...`, `://user:password@`, and JWTs.
///
/// A second net. The first is not to put secrets into texts.
pub fn scrub(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if let Some((value, end)) = secret_at(&lower, at) {
            out.push_str(&text[at..value]);
            out.push_str("***");
            at = end;
            continue;
        }
        let next = text[at..].chars().next().map_or(1, char::len_utf8);
        out.push_str(&text[at..at + next]);
        at += next;
    }
    out
}

/// Where the secret value begins and ends, when something that announces one starts here.
fn secret_at(lower: &str, at: usize) -> Option<(usize, usize)> {
    let rest = lower.get(at..)?;
    if let Some(value) = rest.strip_prefix("bearer ") {
        let begin = lower.len() - value.len();
        return Some((begin, begin + value_len(value)));
    }
    if rest.starts_with("eyj") && rest[..value_len(rest)].contains('.') {
        return Some((at, at + value_len(rest)));
    }
    if let Some(authority) = rest.strip_prefix("://") {
        let end = authority.find(['/', '?', '#', ' ', '"']).unwrap_or(authority.len());
        let user = authority[..end].rfind('@').filter(|at| authority[..*at].contains(':'))?;
        let begin = lower.len() - authority.len();
        return Some((begin, begin + user));
    }
    let word = SECRET_WORDS.iter().find(|word| rest.starts_with(**word))?;
    let after = rest[word.len()..].trim_start_matches(['"', '\'', ' ', '_', 'k', 'e', 'y', 's']);
    let value = after.strip_prefix(['=', ':'])?.trim_start_matches([' ', '"', '\'', '[']);
    let begin = lower.len() - value.len();
    Some((begin, begin + value_len(value)))
}

fn value_len(value: &str) -> usize {
    value
        .find(|c: char| {
            c.is_whitespace() || matches!(c, '&' | '"' | '\'' | ',' | ';' | ')' | '}' | ']')
        })
        .unwrap_or(value.len())
}

/// Formats a `Debug` or `Display` value, reading no more of it than will be kept.
pub(super) fn capped(value: fmt::Arguments<'_>) -> String {
    struct Capped(String);
    impl Write for Capped {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            // Four times the cap, so that a secret is seen whole before it is cut.
            let room = (MAX_CHARS * 4).saturating_sub(self.0.len());
            let mut end = text.len().min(room);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut out = Capped(String::new());
    // An error only says that the rest was cut off.
    let _ = out.write_fmt(value);
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_on_their_line() {
        assert_eq!(clean("a\nb\r\u{1b}[31mc\u{202e}d\u{2028}"), "a b  [31mc d ");
        assert_eq!(clean(&"é".repeat(300)).chars().count(), MAX_CHARS + 1);
        assert_eq!(clean("plain"), "plain");
    }

    #[test]
    fn announced_secrets_are_blanked() {
        let cases = [
            ("GET /x?session=canary&y=1", "GET /x?session=***&y=1"),
            (r#"{"password":"canary","a":1}"#, r#"{"password":"***","a":1}"#),
            ("Authorization: Bearer canary", "Authorization: Bearer ***"),
            ("postgres://u:canary@h/d", "postgres://***@h/d"),
            ("got eyJhbGciOi.canary.sig here", "got *** here"),
            ("session_key: canary", "session_key: ***"),
            ("SESSION = 'canary'", "SESSION = '***'"),
            ("user session [canary", "user session [canary"),
            ("session expired", "session expired"),
            ("http://host:80/path", "http://host:80/path"),
            ("é session=ü", "é session=***"),
        ];
        for (text, expected) in cases {
            assert_eq!(scrub(text), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_upsets_it(text in "\\PC{0,300}|[a-z=:@/\"'é \\n]{0,200}") {
            let cleaned = clean(&scrub(&text));
            proptest::prop_assert!(!cleaned.contains('\n'));
        }
    }
}
