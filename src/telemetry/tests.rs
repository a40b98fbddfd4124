//! The allow-list as seen in the output.

use std::io;
use std::sync::Mutex;

use serde_json::Value as Json;
use tracing::subscriber::with_default;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

const CANARY: &str = "canary-session-key-8841";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn logged(style: Style, log: impl FnOnce()) -> (String, Arc<LogCounters>) {
    let captured = Captured::default();
    let layer = SafeLayer::new(style, captured.clone());
    let counters = layer.counters();
    with_default(Registry::default().with(filter("trace,lapin=trace").unwrap()).with(layer), log);
    let bytes = captured.0.lock().unwrap().clone();
    (String::from_utf8(bytes).unwrap(), counters)
}

fn one_json(log: impl FnOnce()) -> Json {
    let (output, _) = logged(Style::Json, log);
    assert_eq!(output.lines().count(), 1, "{output}");
    serde_json::from_str(&output).unwrap()
}

#[test]
fn the_broker_client_is_never_heard() {
    let (output, _) = logged(Style::Json, || {
        tracing::error!(target: "lapin::channel", "{CANARY}");
        tracing::trace!(target: "lapin", "{CANARY}");
        tracing::trace!(target: "vz_sync", "here");
    });
    assert_eq!(output.lines().count(), 1, "{output}");
    assert!(!output.contains(CANARY), "{output}");
}

#[test]
fn an_unlisted_field_never_reaches_the_output() {
    for style in [Style::Json, Style::Human { colour: false }, Style::Human { colour: true }] {
        let (output, counters) = logged(style, || {
            let span = tracing::info_span!("vz.sync.fetch", session_key = CANARY, team_id = 42);
            let _entered = span.enter();
            tracing::warn!(session = CANARY, payload = ?CANARY, team_id = 42, "vz_sync_retry");
            tracing::info!(body = %CANARY, "fetched");
        });
        assert!(!output.contains("canary"), "{output}");
        assert!(output.contains("42"), "control: a listed field is written: {output}");
        assert_eq!(counters.dropped_fields(), 4);
    }
}

#[test]
fn a_librarys_field_is_dropped_and_held_against_nobody() {
    let (output, counters) = logged(Style::Json, || {
        tracing::info!(target: "hyper::proto", session = CANARY, "hello");
    });
    assert!(output.contains("hello") && !output.contains("canary"), "{output}");
    assert!(!output.contains("dropped_fields"), "{output}");
    assert_eq!(counters.dropped_fields(), 0);
}

#[test]
fn a_dropped_field_is_named_so_that_its_author_sees_it() {
    let line = one_json(|| tracing::info!(session = CANARY, "hello"));
    assert_eq!(line["dropped_fields"], serde_json::json!(["session"]));
}

#[test]
fn a_secret_inside_a_listed_text_is_blanked() {
    let line = one_json(|| {
        let error = io::Error::other(format!("https://u:{CANARY}@h/?session={CANARY} failed"));
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::error!(error, reason = %format!("Bearer {CANARY}"), "token={CANARY}");
    });
    let text = line.to_string();
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains("failed"), "the rest stays: {text}");
}

#[test]
fn events_are_named_and_spans_lend_their_fields() {
    let line = one_json(|| {
        let outer =
            tracing::info_span!("vz.sync.fetch", team_id = 42, scope = tracing::field::Empty);
        outer.record("scope", "environments");
        let _entered = outer.enter();
        let _inner = tracing::info_span!("inner", attempt = 1_u64).entered();
        tracing::info!(attempt = 2_u64, "vz_sync_job_started");
    });
    assert_eq!(line["event"], "vz_sync_job_started");
    assert_eq!(line["span"], "vz.sync.fetch>inner");
    assert_eq!((line["team_id"].as_i64(), line["attempt"].as_i64()), (Some(42), Some(2)));
    assert_eq!(line["scope"], "environments");
    assert_eq!(line["level"], "info");
    assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    assert!(line.get("message").is_none());

    let named = one_json(|| tracing::info!(event = "auth_violation", "no such team"));
    assert_eq!(
        (named["event"].as_str(), named["message"].as_str()),
        (Some("auth_violation"), Some("no such team"))
    );
    let by_macro = one_json(|| tracing::info!(name: "vz_sync_retry", "again"));
    assert_eq!(by_macro["event"], "vz_sync_retry");
}

#[test]
fn no_value_can_forge_a_line() {
    let hostile = format!("x\n{{\"event\":\"forged\"}}\u{1b}[2J{}", "y".repeat(1000));
    for style in [Style::Json, Style::Human { colour: false }] {
        let (output, _) = logged(style, || tracing::info!(reason = %hostile, "{hostile}"));
        assert_eq!(output.lines().count(), 1, "{output}");
        assert!(!output.contains('\u{1b}'));
        assert!(output.len() < 1000, "both texts are capped");
    }
}

#[test]
fn auto_means_human_on_a_terminal_only() {
    use LogFormat::{Auto, Human, Json};
    assert_eq!(style(Auto, true, true), Style::Human { colour: true });
    assert_eq!(style(Auto, false, true), Style::Json);
    assert_eq!(style(Json, true, true), Style::Json);
    assert_eq!(style(Human, false, false), Style::Human { colour: false });
}
