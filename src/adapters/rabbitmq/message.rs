//! Jobs and events as AMQP messages. Nothing here talks to a broker.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use vz_sync_actors::domain::Event;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::job_bus::{JobMessage, MAX_JOB_MESSAGE};

use super::SERVICE;
use super::error::refused;
use super::publisher::Letter;
use super::topology::{DEAD, EVENTS, JOBS, lane_of, table, text};

/// Version of the events' schema that this build writes; a header.
pub(super) const EVENT_SCHEMA_VERSION: i32 = 1;

/// Why a message became a dead letter, where we know more than the broker.
const REASON: &str = "vz-reason";
const TRACE_PARENT: &str = "traceparent";
const SCHEMA_VERSION: &str = "schema_version";

/// Longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 500;

/// AMQP's delivery modes.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// A job as it is published.
pub(super) fn job_letter<'a>(message: &JobMessage, body: &'a str) -> Letter<'a> {
    let mut headers = table([(
        SCHEMA_VERSION,
        AMQPValue::LongInt(message.schema_version.try_into().unwrap_or(i32::MAX)),
    )]);
    if let Some(parent) = &message.trace_parent {
        headers.insert(TRACE_PARENT.into(), text(parent));
    }
    let properties = json(PERSISTENT)
        .with_type("vz.sync.job".into())
        .with_message_id(message.job.to_string().into())
        .with_priority(message.class.amqp_priority())
        .with_headers(headers);
    Letter {
        exchange: JOBS,
        routing_key: message.class.lane().as_str(),
        mandatory: true,
        body: body.as_bytes(),
        properties,
    }
}

/// Reads a delivered job, or says why that is impossible.
pub(super) fn read_job(body: &[u8], properties: &BasicProperties) -> Result<JobMessage, String> {
    if body.len() > MAX_JOB_MESSAGE {
        return Err(format!("it has {} bytes, at most {MAX_JOB_MESSAGE} may travel", body.len()));
    }
    let mut message: JobMessage =
        serde_json::from_slice(body).map_err(|error| shortened(&format!("not a job: {error}")))?;
    if message.trace_parent.is_none() {
        message.trace_parent = header(properties, TRACE_PARENT);
    }
    Ok(message)
}

/// A copy of a delivered message for the dead letters, with the reason.
pub(super) fn dead_letter<'a>(
    lane: Lane,
    body: &'a [u8],
    properties: &BasicProperties,
    reason: &str,
) -> Letter<'a> {
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(REASON.into(), text(&shortened(reason)));
    Letter {
        exchange: DEAD,
        routing_key: lane.as_str(),
        mandatory: true,
        body,
        properties: properties.clone().with_delivery_mode(PERSISTENT).with_headers(headers),
    }
}

/// Why a message lies among the dead letters: our reason, else the broker's
/// word (`rejected`, `delivery_limit`, `expired`, `maxlen`).
pub(super) fn reason_of(properties: &BasicProperties) -> String {
    header(properties, REASON)
        .or_else(|| header(properties, "x-first-death-reason"))
        .unwrap_or_else(|| "not told".to_owned())
}

/// The lane a dead letter came from.
pub(super) fn lane_of_dead(routing_key: &str, properties: &BasicProperties) -> Option<Lane> {
    lane_of(routing_key)
        .or_else(|| lane_of(&header(properties, "x-first-death-queue").unwrap_or_default()))
}

/// An event as it is published. Numbered ones are durable copies; the others
/// pass by and are not worth a disk write.
pub(super) fn event_letter<'a>(event: &Event, routing_key: &'a str, body: &'a [u8]) -> Letter<'a> {
    let headers = table([(SCHEMA_VERSION, AMQPValue::LongInt(EVENT_SCHEMA_VERSION))]);
    let mode = if event.no.is_some() { PERSISTENT } else { TRANSIENT };
    let mut properties = json(mode).with_type(event.body.kind().into()).with_headers(headers);
    if let Some(no) = event.no {
        // The same for every repetition, so that a consumer can tell them.
        properties = properties.with_message_id(format!("{}-{no}", event.team_id).into());
    }
    Letter { exchange: EVENTS, routing_key, mandatory: false, body, properties }
}

/// `team.<id>.<type>`
pub(super) fn event_key(event: &Event) -> String {
    format!("team.{}.{}", event.team_id, event.body.kind())
}

pub(super) fn event_body(event: &Event) -> PortResult<Vec<u8>> {
    serde_json::to_vec(event)
        .map_err(|error| refused(format!("an event of team {}: {error}", event.team_id)))
}

fn json(delivery_mode: u8) -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_app_id(APP.into())
        .with_delivery_mode(delivery_mode)
}

const APP: &str = "vz-sync";

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(value) => Some(value.to_string()),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_REASON.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// The message as it travels; refused when it is too large.
pub(super) fn job_body(message: &JobMessage) -> PortResult<String> {
    message.encode(SERVICE)
}

#[cfg(test)]
mod tests {
    use vz_sync_actors::domain::{Class, JobId, Scope, ScopeKey, TeamId};
    use vz_sync_actors::ports::job_bus::JOB_SCHEMA_VERSION;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn message(class: Class) -> JobMessage {
        JobMessage {
            schema_version: JOB_SCHEMA_VERSION,
            job: JobId(7),
            key: ScopeKey::new(TeamId(42), Scope::Environments),
            class,
            trace_parent: Some(PARENT.to_owned()),
        }
    }

    #[test]
    fn a_job_is_persistent_mandatory_and_carries_class_and_trace() {
        for class in Class::ALL {
            let message = message(class);
            let body = job_body(&message).unwrap();
            let letter = job_letter(&message, &body);
            assert!(letter.mandatory);
            assert_eq!((letter.exchange, letter.routing_key), (JOBS, class.lane().as_str()));
            let properties = &letter.properties;
            assert_eq!(*properties.delivery_mode(), Some(PERSISTENT));
            assert_eq!(*properties.priority(), Some(class.amqp_priority()));
            assert_eq!(header(properties, TRACE_PARENT).as_deref(), Some(PARENT));
            assert_eq!(read_job(letter.body, properties), Ok(message));
        }
    }

    #[test]
    fn the_trace_context_is_read_from_the_header_when_the_body_has_none() {
        let sent = message(Class::Manual);
        let body = job_body(&JobMessage { trace_parent: None, ..sent.clone() }).unwrap();
        let properties = job_letter(&sent, &body).properties;
        assert_eq!(read_job(body.as_bytes(), &properties), Ok(sent));
    }

    #[test]
    fn what_is_no_job_is_told_in_few_words() {
        let long = format!("{{\"job\":\"{}\"}}", "ä".repeat(1500));
        for body in [b"".as_slice(), b"{\"job\":", b"\xff\xfe", long.as_bytes()] {
            let reason = read_job(body, &BasicProperties::default()).unwrap_err();
            assert!(!reason.is_empty() && reason.len() <= LONGEST_REASON, "{reason}");
        }
        let huge = vec![b' '; MAX_JOB_MESSAGE + 1];
        let reason = read_job(&huge, &BasicProperties::default()).unwrap_err();
        assert!(reason.contains("4097 bytes"), "{reason}");
    }

    #[test]
    fn a_dead_letter_keeps_all_and_adds_the_reason() {
        let message = message(Class::Backfill);
        let body = job_body(&message).unwrap();
        let alive = job_letter(&message, &body);
        let dead = dead_letter(Lane::Low, alive.body, &alive.properties, "poison");
        assert_eq!(reason_of(&dead.properties), "poison");
        assert_eq!(lane_of_dead(dead.routing_key, &dead.properties), Some(Lane::Low));
        assert_eq!(*dead.properties.priority(), *alive.properties.priority());
        assert_eq!(reason_of(&BasicProperties::default()), "not told");
    }
}
