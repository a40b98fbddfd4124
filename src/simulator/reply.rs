//! An answer on its way out: the platform's headers, and the ways in which a body can be sent.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::bulk;
use super::clock::http_date;

/// How the bytes of a body are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delivery {
    /// At once.
    Whole,
    /// Only so many, then a broken connection.
    Broken(usize),
    /// Only so many, then silence.
    Stuck(usize),
    /// In pieces of a size, with a pause before each.
    Drip(usize, Duration),
    /// With that many blanks in it.
    Padded(u64),
    /// The same, as gzip.
    Packed(u64),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) extra: Vec<(HeaderName, String)>,
    pub(crate) body: Bytes,
    pub(crate) delivery: Delivery,
}

const HTML: &str = "text/html";

impl Reply {
    /// HTTP 200 with JSON, as the platform answers nearly everything.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/json;charset=UTF-8",
            extra: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
        }
    }

    /// A page of the front proxy.
    pub(crate) fn page(status: StatusCode) -> Self {
        let title = match status.as_u16() {
            405 => "405 Not Allowed".to_owned(),
            _ => status.to_string(),
        };
        let body = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
             <center><h1>{title}</h1></center>\r\n<hr><center>openresty</center>\r\n\
             </body>\r\n</html>\r\n"
        );
        Self { status, content_type: HTML, body: body.into(), ..Self::json("") }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// How many bytes of body will go out.
    pub(crate) fn size(&self) -> u64 {
        let length = self.body.len();
        match self.delivery {
            // What packed blanks take is not worth counting.
            Delivery::Whole | Delivery::Drip(..) | Delivery::Packed(_) => length as u64,
            Delivery::Broken(bytes) | Delivery::Stuck(bytes) => bytes.min(length) as u64,
            Delivery::Padded(blanks) => blanks + length as u64,
        }
    }

    /// `now` is what the platform believes the time to be.
    pub(crate) fn into_response(self, now: i64) -> Response<Body> {
        let length = self.body.len();
        let body = self.body;
        let body = match self.delivery {
            Delivery::Whole => Body::from(body),
            Delivery::Broken(bytes) => {
                let part = body.slice(..bytes.min(length));
                let broken = async {
                    // The server sends what it has only when there is no more for the moment.
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("the simulator broke the connection"))
                };
                Body::from_stream(stream::iter([Ok(part)]).chain(stream::once(broken)))
            }
            Delivery::Stuck(bytes) => {
                let part = Ok::<_, Infallible>(body.slice(..bytes.min(length)));
                Body::from_stream(stream::iter([part]).chain(stream::pending()))
            }
            Delivery::Drip(size, pause) => Body::from_stream(drip(body, size.max(1), pause)),
            Delivery::Padded(blanks) => Body::from_stream(bulk::padded(&body, blanks)),
            Delivery::Packed(blanks) => Body::from_stream(bulk::packed(&body, blanks)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in PLATFORM_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut own = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        own(header::DATE, &http_date(now));
        own(header::EXPIRES, &http_date(now - 1));
        match self.delivery {
            Delivery::Whole | Delivery::Padded(_) => {}
            Delivery::Packed(_) => own(header::CONTENT_ENCODING, "gzip"),
            Delivery::Broken(_) | Delivery::Stuck(_) | Delivery::Drip(..) => {
                own(header::CONTENT_LENGTH, &length.to_string());
            }
        }
        for (name, value) in self.extra {
            own(name, &value);
        }
        response
    }
}

/// As seen on a real answer (`tests/fixtures/virtuozzo/response_headers.observed.json`).
pub(crate) const PLATFORM_HEADERS: [(HeaderName, &str); 8] = [
    (header::X_XSS_PROTECTION, "1; mode=block"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=15811200"),
    (header::SERVER, "openresty"),
    (header::PRAGMA, "no-cache"),
    (header::CONTENT_LANGUAGE, "en-US"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
];

fn drip(
    body: Bytes,
    size: usize,
    pause: Duration,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok(piece), rest))
    })
}
