//! The ways in which an answer can go wrong, as they are ordered. What each does is in
//! [`super::effects`]; which requests suffer is in [`super::faults`].

use serde::{Deserialize, Serialize};

/// A way in which an answer goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// An HTTP status with an HTML page of the front proxy, such as 429 or 502.
    Status {
        /// The status code.
        code: u16,
        /// Seconds for a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// HTTP 200 with another `result`.
    Result {
        /// The result code.
        code: i64,
        /// The text beside it.
        #[serde(default)]
        error: Option<String>,
    },
    /// An outer result of 0 around a failure.
    Nested {
        /// The inner result code.
        code: i64,
    },
    /// An HTML page with HTTP 200.
    Html,
    /// A redirect.
    Redirect {
        /// Where to.
        location: String,
    },
    /// The session has expired.
    Expired,
    /// The token may not call this method: 8202.
    NotAllowed,
    /// Nothing more comes, and the connection stays open.
    Hang {
        /// Before the head, or in the middle of the body.
        #[serde(rename = "where")]
        at: HangAt,
    },
    /// The answer comes late.
    DelayMs {
        /// By how much.
        ms: u64,
    },
    /// The body ends early.
    Truncate {
        /// How many bytes of it are sent.
        bytes: usize,
        /// Whether HTTP calls that complete, so that only the JSON shows it. Otherwise the
        /// connection breaks.
        #[serde(default)]
        clean: bool,
    },
    /// The body comes in small pieces.
    SlowDrip {
        /// The size of a piece.
        bytes: usize,
        /// The pause before each.
        interval_ms: u64,
    },
    /// That many blanks more in the body, sent as fast as they are taken.
    Huge {
        /// How many.
        bytes: u64,
    },
    /// The same, packed as gzip a thousand times smaller.
    GzipBomb {
        /// How many, unpacked.
        bytes: u64,
    },
    /// `infos` is empty.
    EmptyList,
    /// A part of the environments is missing from the listing, the same ones each time.
    DropFraction {
        /// Which part, 0 to 1.
        fraction: f64,
    },
    /// The first environments are listed twice.
    Duplicate {
        /// How many.
        #[serde(default = "one")]
        count: usize,
    },
    /// The first environments keep their appid but break the schema.
    MalformedElement {
        /// How many.
        #[serde(default = "one")]
        n: usize,
    },
    /// The first environments, or the one asked for, have no `nodes`, which says nothing of them.
    NodesMissing {
        /// How many.
        #[serde(default = "one")]
        count: usize,
    },
    /// The first environments have a status that no document names.
    UnknownStatus {
        /// The status.
        code: i64,
        /// How many.
        #[serde(default = "one")]
        count: usize,
    },
    /// The first environment's display name holds a NUL character.
    Nul,
    /// The first environment's display name is not UTF-8.
    BadUtf8,
    /// The first environment holds lists within lists.
    Deep {
        /// How many levels.
        levels: usize,
    },
    /// The answer has no `infos`.
    InfosMissing,
    /// `infos` is null.
    InfosNull,
    /// `infos` is an object.
    InfosType,
    /// The key is a collaborator's: another uid, not the owner, environments of others among
    /// one's own.
    Collaborator {
        /// How many environments of another account are listed too.
        #[serde(default)]
        foreign: usize,
        /// What `right` says on the first own environment.
        #[serde(default)]
        right: Option<String>,
    },
    /// The platform's clock is wrong.
    ClockSkew {
        /// Seconds that it is ahead.
        seconds: i64,
    },
}

fn one() -> usize {
    1
}

/// Where an answer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangAt {
    /// Before the status line.
    Headers,
    /// In the middle of the body.
    Body,
}
