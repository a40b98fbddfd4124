//! From everything that can go wrong on the wire to a [`Failure`] with a class.
//!
//! All texts are fixed and name the method and numbers only: an error of the HTTP library carries
//! the URL, and the platform's own `error` text can carry a part of the session key. Both stay
//! here.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use vz_sync_actors::domain::{Failure, FailureClass};

use super::ssrf::RefusedAddress;
use super::stream::{Scanner, Step};

/// Longest patience that is obeyed; past it the platform is asked again.
const MAX_PATIENCE: Duration = Duration::from_hours(1);

/// The constant in `error` whose number is not public.
const NOT_AUTHENTICATED: &str = "USER_NOT_AUTHENTICATED";

/// GetEnvInfo: there is no such environment for this key.
pub(super) const NOT_FOUND: i64 = 11;

/// What each result code means. A code that is not listed is retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultCodes(BTreeMap<i64, FailureClass>);

impl Default for ResultCodes {
    fn default() -> Self {
        use FailureClass::{Auth, Capability, Invalid, Retryable};
        Self::from_iter([
            (1, Retryable),
            (3, Auth),
            (5, Invalid),
            (17, Retryable),
            (99, Retryable),
            (701, Auth),
            (702, Auth),
            (8202, Capability),
        ])
    }
}

impl FromIterator<(i64, FailureClass)> for ResultCodes {
    fn from_iter<T: IntoIterator<Item = (i64, FailureClass)>>(codes: T) -> Self {
        Self(codes.into_iter().collect())
    }
}

impl ResultCodes {
    /// These codes over the defaults.
    pub fn overlay(mut self, codes: impl IntoIterator<Item = (i64, FailureClass)>) -> Self {
        self.0.extend(codes);
        self
    }

    /// The class of a code other than 0.
    pub fn class(&self, code: i64) -> FailureClass {
        self.0.get(&code).copied().unwrap_or(FailureClass::Retryable)
    }
}

/// The envelope of an answer: the outer one, and the one nested in `response`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Envelope {
    result: Option<i64>,
    inner: Option<i64>,
    not_authenticated: bool,
}

impl Envelope {
    /// What a scanner has read of it so far.
    pub(super) fn of(scanner: &Scanner) -> Self {
        let mut envelope = Self {
            result: scanner.result().and_then(number),
            inner: None,
            not_authenticated: scanner.error().is_some_and(names_refusal),
        };
        if let Some(nested) = scanner.response() {
            let mut inner = Scanner::new(0);
            drain(&mut inner, nested);
            envelope.inner = inner.result().and_then(number);
            envelope.not_authenticated |= inner.error().is_some_and(names_refusal);
        }
        envelope
    }

    /// The envelope of a whole body; `None` when that is no JSON object.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(0);
        drain(&mut scanner, body);
        scanner.closed().then(|| Self::of(&scanner))
    }

    /// The first code other than 0, else the outer one.
    pub(super) fn code(self) -> Option<i64> {
        match (self.result, self.inner) {
            (Some(0), Some(inner)) => Some(inner),
            (outer, _) => outer,
        }
    }

    /// Whether the answer is a success, and if not, what it is.
    pub(super) fn verdict(self, method: &str, codes: &ResultCodes) -> Result<(), Failure> {
        match self.code() {
            Some(0) => Ok(()),
            Some(code) => {
                let class =
                    if self.not_authenticated { FailureClass::Auth } else { codes.class(code) };
                let text = format!("{method} answered result {code}");
                Err(Failure::new(class, format!("result_{code}"), text))
            }
            None => Err(invalid("result_missing", method, "answered without a readable result")),
        }
    }
}

fn drain(scanner: &mut Scanner, body: &[u8]) {
    let mut at = 0;
    while matches!(scanner.next(body, &mut at), Step::Element(_) | Step::Oversize) {}
}

/// A code as a number, or as a string that holds one: some parts of the platform print it so.
fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.trim_matches('"').parse().ok()
}

fn names_refusal(text: &[u8]) -> bool {
    memchr::memmem::find(text, NOT_AUTHENTICATED.as_bytes()).is_some()
}

/// An answer that makes no sense as a whole.
pub(super) fn invalid(code: &str, method: &str, what: &str) -> Failure {
    Failure::new(FailureClass::Invalid, code, format!("{method} {what}"))
}

/// Something that may pass by itself.
pub(super) fn retryable(code: &str, method: &str, what: &str) -> Failure {
    Failure::new(FailureClass::Retryable, code, format!("{method} {what}"))
}

/// No answer came at all.
pub(super) fn unanswered(code: &str, method: &str, what: &str) -> Failure {
    Failure { connection_level: true, ..retryable(code, method, what) }
}

/// Patience, by whoever wants it.
pub(super) fn throttled(code: &str, method: &str, what: &str, wait: Duration) -> Failure {
    let text = format!("{method} {what}");
    Failure { retry_after: Some(wait), ..Failure::new(FailureClass::Throttled, code, text) }
}

/// The one mapper of the HTTP library's errors before an answer's head. The error is consumed:
/// neither its text nor its URL goes any further.
pub(super) fn before_answer(error: reqwest::Error, method: &str) -> Failure {
    let error = error.without_url();
    if find::<RefusedAddress>(&error).is_some() {
        let what = "was not sent: the platform's name leads to a private or special address";
        return invalid("private_address", method, what);
    }
    if error.is_builder() {
        return invalid("bad_request", method, "could not be put into a request");
    }
    let (code, what) = match () {
        () if error.is_connect() && error.is_timeout() => {
            ("connect_timeout", "got no connection in time")
        }
        () if error.is_dns() => ("dns", "failed: the platform's name does not resolve"),
        () if is_tls(&error) => {
            ("tls", "failed: the platform's certificate or TLS is not accepted")
        }
        () if error.is_connect() => ("connect", "failed: the platform refuses connections"),
        () if error.is_timeout() => ("timeout", "got no answer in time"),
        () => ("connection_lost", "lost the connection before an answer came"),
    };
    unanswered(code, method, what)
}

/// The same within an answer's body.
pub(super) fn within_body(error: reqwest::Error, method: &str) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return stalled(method);
    }
    retryable("truncated", method, "was answered with a body that broke off or cannot be decoded")
}

/// Nothing more came for too long.
pub(super) fn stalled(method: &str) -> Failure {
    retryable("body_timeout", method, "was answered with a body that stalled")
}

/// The text of an answer is no JSON object, or stops being one.
pub(super) fn broken(markup: bool, method: &str) -> Failure {
    if markup {
        return retryable("html", method, "was answered with a page instead of JSON");
    }
    retryable("invalid_json", method, "was answered with invalid JSON")
}

/// The same of a whole body.
pub(super) fn not_json(body: &[u8], method: &str) -> Failure {
    let mut scanner = Scanner::new(0);
    drain(&mut scanner, body);
    broken(scanner.markup(), method)
}

/// Whether the other side closed a connection without having answered on it.
pub(super) fn closed_by_peer(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let broken = |io: &std::io::Error| {
        matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
    };
    find::<hyper::Error>(error).is_some_and(|hyper| {
        hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled()
    }) || find::<std::io::Error>(error).is_some_and(broken)
}

fn is_tls(error: &reqwest::Error) -> bool {
    // rustls reports through io::Error, always with this kind.
    error.is_connect()
        && find::<std::io::Error>(error)
            .is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // io::Error hides what it wraps from `source`.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What an HTTP status other than success means; `body` may be cut.
pub(super) fn status(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    method: &str,
    codes: &ResultCodes,
    default_patience: Duration,
) -> Failure {
    let code = format!("http_{}", status.as_u16());
    let what = format!("answered HTTP {}", status.as_u16());
    let patience = retry_after(headers);
    match (status, patience) {
        (StatusCode::TOO_MANY_REQUESTS, wait) => {
            return throttled(&code, method, &what, wait.unwrap_or(default_patience));
        }
        (StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
            return throttled(&code, method, &what, wait);
        }
        _ => {}
    }
    if status.is_redirection() {
        return retryable("redirect", method, "answered with a redirect, which is not followed");
    }
    // A front proxy answers 401 and 403 with a page; only the platform itself answers in JSON.
    let Some(envelope) = Envelope::read(body) else { return retryable(&code, method, &what) };
    let told = envelope.verdict(method, codes).err().filter(|_| envelope.code().is_some());
    match (status, told) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, told)
            if told.as_ref().is_none_or(|told| told.class != FailureClass::Capability) =>
        {
            Failure::new(FailureClass::Auth, code, format!("{method} {what}"))
        }
        (_, Some(told)) => told,
        (_, None) => retryable(&code, method, &what),
    }
}

/// `Retry-After` as seconds or as a date, which is read against the answer's own `Date`: the
/// platform's clock need not be ours. Capped at an hour.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        Duration::try_from(date(text)? - clock(headers)?).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MAX_PATIENCE))
}

/// What the answer says the time is.
pub(super) fn clock(headers: &HeaderMap) -> Option<OffsetDateTime> {
    date(headers.get(DATE)?.to_str().ok()?)
}

fn date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(body: &str) -> Result<(), (FailureClass, String)> {
        let envelope = Envelope::read(body.as_bytes()).expect("an object");
        let codes = ResultCodes::default();
        envelope.verdict("getenvs", &codes).map_err(|failure| (failure.class, failure.code))
    }

    #[test]
    fn both_envelopes_are_read() {
        use FailureClass::{Auth, Capability, Invalid, Retryable};
        let failed = |class, code: &str| Err((class, code.to_owned()));
        assert_eq!(verdict(r#"{"result":0}"#), Ok(()));
        assert_eq!(verdict(r#"{"result":"0","response":{"result":0}}"#), Ok(()));
        let nested = r#"{"result":0,"response":{"result":4099,"error":"x"}}"#;
        assert_eq!(verdict(nested), failed(Retryable, "result_4099"));
        assert_eq!(verdict(r#"{"response":null,"result":11}"#), failed(Retryable, "result_11"));
        assert_eq!(verdict(r#"{"result":"99"}"#), failed(Retryable, "result_99"));
        assert_eq!(verdict(r#"{"result":701}"#), failed(Auth, "result_701"));
        assert_eq!(verdict(r#"{"result":8202}"#), failed(Capability, "result_8202"));
        assert_eq!(verdict(r#"{"result":5}"#), failed(Invalid, "result_5"));
        assert_eq!(verdict(r#"{"result":123456}"#), failed(Retryable, "result_123456"));
        assert_eq!(verdict(r#"{"result":null}"#), failed(Invalid, "result_missing"));
        assert_eq!(verdict("{}"), failed(Invalid, "result_missing"));
        let unnumbered = r#"{"result":1037,"error":"USER_NOT_AUTHENTICATED: session [abcxxx"}"#;
        assert_eq!(verdict(unnumbered), failed(Auth, "result_1037"));
        assert_eq!(Envelope::read(b"<html>"), None);
        assert_eq!(Envelope::read(br#"{"result":0"#), None);
    }

    #[test]
    fn the_observed_errors_have_classes() {
        let observed =
            include_str!("../../../tests/fixtures/virtuozzo/error_envelopes.observed.json");
        let observed = serde_json::from_str::<Vec<serde_json::Value>>(observed).expect("JSON");
        for entry in observed {
            let (class, _) = verdict(&entry["body"].to_string()).expect_err("an error");
            assert_eq!(class, FailureClass::Retryable, "{entry}");
        }
        for (text, code) in [
            (
                include_str!("../../../tests/fixtures/virtuozzo/signin_error.recorded.json"),
                "result_701",
            ),
            (
                include_str!("../../../tests/fixtures/virtuozzo/deploy_error.recorded.json"),
                "result_11",
            ),
            (
                include_str!("../../../tests/fixtures/virtuozzo/createobject_error.recorded.json"),
                "result_3",
            ),
        ] {
            assert_eq!(verdict(text).expect_err("an error").1, code);
        }
    }

    #[test]
    fn the_table_can_be_changed() {
        let codes = ResultCodes::default().overlay([(17, FailureClass::Throttled)]);
        assert_eq!(codes.class(17), FailureClass::Throttled);
        assert_eq!(codes.class(99), FailureClass::Retryable);
    }

    fn by_status(code: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect::<HeaderMap>();
        let code = StatusCode::from_u16(code).expect("a status");
        let patience = Duration::from_secs(30);
        status(code, &headers, body.as_bytes(), "getenvs", &ResultCodes::default(), patience)
    }

    #[test]
    fn a_status_means_what_the_body_makes_it() {
        use FailureClass::{Auth, Capability, Retryable, Throttled};
        let page = "<html>no</html>";
        for (code, body, class) in [
            (401, page, Retryable),
            (403, page, Retryable),
            (401, "{}", Auth),
            (403, r#"{"result":1,"error":"no"}"#, Auth),
            (403, r#"{"result":8202}"#, Capability),
            (500, page, Retryable),
            (500, r#"{"result":99}"#, Retryable),
            (400, r#"{"result":3}"#, Auth),
            (404, page, Retryable),
            (429, page, Throttled),
            (503, page, Retryable),
            (302, "", Retryable),
        ] {
            assert_eq!(by_status(code, &[], body).class, class, "{code} {body}");
        }
    }

    #[test]
    fn patience_is_seconds_or_a_date_by_the_platforms_own_clock() {
        let wait =
            |code, headers: &[(&'static str, &str)]| by_status(code, headers, "").retry_after;
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(429, &[]), Some(Duration::from_secs(30)));
        assert_eq!(wait(429, &[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(503, &[("retry-after", " 7 ")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(503, &[("retry-after", "99999")]), Some(MAX_PATIENCE));
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(wait(429, &[later, date]), Some(Duration::from_mins(1)));
        assert_eq!(wait(429, &[later]), Some(Duration::from_secs(30)));
        let past = ("retry-after", "Sun, 06 Nov 1994 08:40:37 GMT");
        assert_eq!(wait(503, &[past, date]), Some(Duration::ZERO));
        assert_eq!(wait(503, &[("retry-after", "soon")]), None);
    }
}
