//! Durations in query strings: `30s`, `500ms`, `2m`, `1h`, or plain seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A duration as a client writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().ok()?;
        let millis = match &text[digits..] {
            "ms" => 1,
            "s" | "" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("a duration is a whole number with ms, s, m or h, e.g. 30s")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let millis = |text| Span::parse(text).map(|span| span.0.as_millis());
        for (text, expected) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7", 7000),
            ("0s", 0),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in
            ["", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "18446744073709551615h", "1 s"]
        {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
