//! The platform's clock and its way of writing time.
//!
//! The simulator is a server of its own: its clock is the platform's, not the mirror's.

use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const WIRE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Real, or standing still until it is moved.
pub(crate) struct Clock {
    manual: Option<AtomicI64>,
}

impl Clock {
    pub(crate) fn new(start_time: Option<i64>) -> Self {
        Self { manual: start_time.map(AtomicI64::new) }
    }

    /// Unix seconds.
    #[allow(
        clippy::disallowed_methods,
        reason = "the simulator is another machine: this is that machine's clock"
    )]
    pub(crate) fn now(&self) -> i64 {
        match &self.manual {
            Some(manual) => manual.load(Ordering::Relaxed),
            None => OffsetDateTime::now_utc().unix_timestamp(),
        }
    }

    /// Moves a manual clock on; a real one moves by itself.
    pub(crate) fn advance(&self, seconds: i64) {
        if let Some(manual) = &self.manual {
            manual.fetch_add(seconds, Ordering::Relaxed);
        }
    }
}

/// `2021-08-19 14:51:37`, UTC, without a zone: the platform's form.
pub(crate) fn wire_time(unix_seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|moment| moment.format(WIRE).ok())
        .unwrap_or_default()
}

/// The reverse of [`wire_time`].
pub(crate) fn parse_wire_time(text: &str) -> Option<i64> {
    let moment = time::PrimitiveDateTime::parse(text, WIRE).ok()?;
    Some(moment.assume_utc().unix_timestamp())
}

/// The form of HTTP's `Expires` header.
pub(crate) fn http_date(unix_seconds: i64) -> String {
    const HTTP: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|moment| moment.format(HTTP).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_time_goes_both_ways() {
        let moment = parse_wire_time("2021-08-19 14:51:37").unwrap();
        assert_eq!(wire_time(moment), "2021-08-19 14:51:37");
        assert_eq!(http_date(moment), "Thu, 19 Aug 2021 14:51:37 GMT");
        assert!(parse_wire_time("2021-08-19T14:51:37Z").is_none());
    }
}
