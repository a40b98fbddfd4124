//! The subscriber layer that enforces the allow-list.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::clean::{capped, clean, scrub};
use super::is_safe;
use super::line::{Line, Style};

/// What the logging itself has to tell: shown as metrics.
#[derive(Debug, Default)]
pub struct LogCounters {
    dropped_fields: AtomicU64,
    lost_lines: AtomicU64,
}

impl LogCounters {
    /// Fields that were not on the allow-list.
    pub fn dropped_fields(&self) -> u64 {
        self.dropped_fields.load(Ordering::Relaxed)
    }

    /// Lines that could not be written.
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Ordering::Relaxed)
    }
}

/// Writes each event as one line, after the allow-list and the cleaning.
pub struct SafeLayer<W> {
    style: Style,
    writer: W,
    counters: Arc<LogCounters>,
}

impl<W> SafeLayer<W> {
    /// A layer that writes lines of this style.
    pub fn new(style: Style, writer: W) -> Self {
        Self { style, writer, counters: Arc::default() }
    }

    /// The layer's counters, shared.
    pub fn counters(&self) -> Arc<LogCounters> {
        Arc::clone(&self.counters)
    }
}

impl<S, W> Layer<S> for SafeLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Collected::default();
        attributes.record(&mut fields);
        self.count(&mut fields, attributes.metadata());
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut late = Collected::default();
        values.record(&mut late);
        self.count(&mut late, span.metadata());
        if let Some(fields) = span.extensions_mut().get_mut::<Collected>() {
            fields.fields.extend(late.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Collected::default();
        event.record(&mut own);
        self.count(&mut own, event.metadata());

        let (mut span, mut fields) = (String::new(), Map::new());
        for scope in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if !span.is_empty() {
                span.push('>');
            }
            span.push_str(scope.name());
            if let Some(inherited) = scope.extensions().get::<Collected>() {
                fields.extend(inherited.fields.clone());
            }
        }
        fields.extend(own.fields);

        let metadata = event.metadata();
        let (event_name, message) = name(metadata.name(), &mut fields, own.message);
        let line = Line {
            time: now(),
            level: *metadata.level(),
            target: metadata.target(),
            event: event_name,
            message,
            span,
            fields,
            dropped: own.dropped,
        };
        let line = line.render(self.style);
        if self.writer.make_writer().write_all(line.as_bytes()).is_err() {
            self.counters.lost_lines.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<W> SafeLayer<W> {
    /// Counts what was dropped at our own call sites. A library's fields are
    /// dropped alike, but nobody here can name them otherwise.
    fn count(&self, fields: &mut Collected, metadata: &Metadata<'_>) {
        if !metadata.target().starts_with("vz_sync") {
            fields.dropped.clear();
        }
        let dropped = fields.dropped.len() as u64;
        if dropped > 0 {
            self.counters.dropped_fields.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

/// The event's name: its `event` field, the `name:` of the macro, or a message that
/// is nothing but a name such as `vz_sync_enqueue`.
fn name(
    macro_name: &str,
    fields: &mut Map<String, Json>,
    message: Option<String>,
) -> (Option<String>, Option<String>) {
    if let Some(Json::String(event)) = fields.remove("event") {
        return (Some(event), message);
    }
    // Without `name:` the macros make up "event src/file.rs:12".
    if !macro_name.contains(' ') {
        return (Some(macro_name.to_owned()), message);
    }
    let is_name = |text: &String| {
        text.contains('_')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
    };
    match message {
        Some(text) if is_name(&text) => (Some(text), None),
        other => (None, other),
    }
}

fn now() -> String {
    let mut time = String::with_capacity(32);
    // A clock that cannot be formatted leaves the time empty, and the line intact.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// Fields that passed, and the names of those that did not.
#[derive(Default)]
struct Collected {
    message: Option<String>,
    fields: Map<String, Json>,
    dropped: Vec<&'static str>,
}

impl Collected {
    fn put(&mut self, field: &Field, value: impl FnOnce() -> Json) {
        if is_safe(field.name()) {
            self.fields.insert(field.name().to_owned(), value());
        } else {
            self.dropped.push(field.name());
        }
    }
}

impl Visit for Collected {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, || value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(clean(&scrub(&capped(format_args!("{value}")))));
        } else {
            self.put(field, || clean(&scrub(&capped(format_args!("{value}")))).into());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, || {
            let mut chain = value.to_string();
            let mut source = value.source();
            while let Some(error) = source {
                chain.push_str(": ");
                chain.push_str(&error.to_string());
                source = error.source();
            }
            clean(&scrub(&chain)).into()
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(clean(&scrub(&capped(format_args!("{value:?}")))));
        } else {
            self.put(field, || clean(&scrub(&capped(format_args!("{value:?}")))).into());
        }
    }
}
