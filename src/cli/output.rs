//! Where commands write: results to stdout, remarks to stderr.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value as Json, json};

use super::CliError;

type Sink = Mutex<Box<dyn Write + Send>>;

/// The two streams of a command. With `--json` stdout holds JSON and nothing else.
pub struct Output {
    json: bool,
    out: Sink,
    err: Sink,
}

impl Output {
    /// The process's own streams.
    pub fn stdio(json: bool) -> Self {
        Self::to(json, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Any two streams.
    pub fn to(json: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { json, out: Mutex::new(out), err: Mutex::new(err) }
    }

    /// Whether `--json` was given.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// The result: `json` with `--json`, else the text.
    pub fn result(&self, json: &Json, text: &str) {
        if self.json {
            write(&self.out, &json.to_string());
        } else {
            write(&self.out, text);
        }
    }

    /// A remark for people, on stderr.
    pub fn note(&self, text: &str) {
        write(&self.err, text);
    }

    /// The end of a command that failed.
    pub(super) fn error(&self, error: &CliError) {
        if self.json {
            let body = json!({ "error": { "kind": error.kind(), "message": error.to_string() } });
            write(&self.err, &body.to_string());
        } else {
            write(&self.err, &format!("vz-sync: {error}"));
        }
    }
}

/// A reader that has gone away (`| head`) is no failure of the command.
fn write(sink: &Sink, text: &str) {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(sink, "{text}{newline}").and_then(|()| sink.flush());
}
