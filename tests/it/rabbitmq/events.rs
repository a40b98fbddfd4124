//! What outside consumers get, and what replicas tell each other.

use jsonschema::Validator;
use lapin::types::{AMQPValue, ShortString};
use serde_json::{Value, json};
use time::OffsetDateTime;
use vz_sync::adapters::rabbitmq::topology::EVENTS;
use vz_sync_actors::conformance::{never, soon};
use vz_sync_actors::domain::event::{
    ChangedId, Completed, Failed, Phase, Progress, RemovalsHeld, Started,
};
use vz_sync_actors::domain::job::{Counts, JobState};
use vz_sync_actors::domain::{
    DataType, Event, EventBody, EventNo, ExternalId, HoldId, JobId, Mode, Scope, TeamId,
};
use vz_sync_actors::ports::event_bus::EventBus as _;

use super::{Outsider, next};
use crate::support::rabbitmq::{open, vhost};

fn schema() -> Validator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations/events.schema.json");
    let text = std::fs::read_to_string(path).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn event(no: Option<i64>, body: EventBody) -> Event {
    let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    Event { team_id: TeamId(42), no: no.map(EventNo), at, body }
}

fn completed(verified_at: Option<OffsetDateTime>) -> EventBody {
    EventBody::Completed(Completed {
        job_id: JobId(1),
        scope: Scope::Environments,
        mode: Mode::Full,
        verified_at,
        partial: verified_at.is_none().then(|| "cut off".to_owned()),
        counts: Counts { listed: 3, inserted: 1, ..Counts::default() },
        changed: vec![ChangedId { data_type: DataType::Nodes, id: ExternalId::from("100004") }],
        truncated: false,
    })
}

fn started() -> EventBody {
    EventBody::Started(Started {
        job_id: JobId(1),
        scope: Scope::JobLogs,
        mode: Mode::Delta,
        attempt: 1,
    })
}

/// One of each kind, and each of its shapes.
fn all() -> Vec<Event> {
    let failed = |job_id| {
        EventBody::Failed(Failed {
            job_id,
            scope: Scope::ArchivedSites,
            state: JobState::Failed,
            reason: "result_702".to_owned(),
            message: "the platform answered result 702".to_owned(),
        })
    };
    let progress = |total| {
        EventBody::Progress(Progress {
            job_id: JobId(1),
            scope: Scope::Environments,
            phase: Phase::Confirm,
            done: 3,
            total,
        })
    };
    let held = EventBody::RemovalsHeld(RemovalsHeld {
        hold_id: HoldId(1),
        job_id: JobId(1),
        data_type: DataType::Environments,
        count: 6,
        of: 10,
        reason: "over_percentage".to_owned(),
    });
    vec![
        event(Some(1), completed(Some(OffsetDateTime::UNIX_EPOCH))),
        event(Some(2), completed(None)),
        event(Some(3), failed(Some(JobId(1)))),
        event(Some(4), failed(None)),
        event(Some(5), held),
        event(None, started()),
        event(None, progress(Some(10))),
        event(None, progress(None)),
    ]
}

#[tokio::test]
async fn every_published_event_is_what_the_schema_says() {
    let (url, schema) = (vhost().await, schema());
    let (bus, outsider) = (open(&url).await.event_bus(), Outsider::new(&url).await);
    let queue = outsider.queue(EVENTS, "team.42.#").await;
    let mut received = outsider.consume(&queue).await;
    for event in all() {
        let is_durable = event.no.is_some();
        if is_durable {
            bus.relay(&event).await.unwrap();
        } else {
            bus.tell(&event).await.unwrap();
        }
        let delivery = next(&mut received).await;
        let body: Value = serde_json::from_slice(&delivery.data).unwrap();
        let faults: Vec<_> = schema.iter_errors(&body).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{body}: {faults:?}");

        let (kind, properties) = (event.body.kind(), &delivery.properties);
        assert_eq!(delivery.routing_key.as_str(), format!("team.42.{kind}"));
        assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some(kind));
        assert_eq!(*properties.delivery_mode(), Some(if is_durable { 2 } else { 1 }));
        let id = properties.message_id().as_ref().map(ToString::to_string);
        assert_eq!(id, event.no.map(|no| format!("42-{no}")));
        let version = properties.headers().clone().unwrap();
        assert_eq!(version.inner().get("schema_version"), Some(&AMQPValue::LongInt(1)));
        assert_eq!(serde_json::from_value::<Event>(body).unwrap(), event);
    }
}

/// The control of the schema: what no event looks like is refused.
#[test]
fn the_schema_refuses_what_no_event_looks_like() {
    let schema = schema();
    let good = serde_json::to_value(&all()[0]).unwrap();
    assert!(schema.is_valid(&good));
    for (pointer, wrong) in [
        ("/no", Value::Null),
        ("/at", json!("yesterday")),
        ("/team_id", json!("42")),
        ("/data/scope", json!("nodes")),
        ("/data/counts/listed", json!(-1)),
        ("/data/changed/0", json!({"id": "1"})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.is_valid(&bad), "{pointer}");
    }
    let mut newer = good;
    newer["type"] = json!("sync.later");
    newer["data"] = json!({"added": 1});
    assert!(schema.is_valid(&newer), "types that are not known yet must pass");
}

#[tokio::test]
async fn outside_consumers_choose_by_team_and_type() {
    let url = vhost().await;
    let (bus, outsider) = (open(&url).await.event_bus(), Outsider::new(&url).await);
    let queue = outsider.queue(EVENTS, "team.*.sync.completed").await;
    let mut received = outsider.consume(&queue).await;
    for (number, team) in [(1, 1), (2, 2)] {
        bus.tell(&Event { team_id: TeamId(team), ..event(None, started()) }).await.unwrap();
        let done = Event { team_id: TeamId(team), ..event(Some(number), completed(None)) };
        bus.relay(&done).await.unwrap();
    }
    for team in [1, 2] {
        let key = next(&mut received).await.routing_key;
        assert_eq!(key.as_str(), format!("team.{team}.sync.completed"));
    }
}

#[tokio::test]
async fn an_event_of_another_version_is_passed_over() {
    let url = vhost().await;
    let (bus, outsider) = (open(&url).await.event_bus(), Outsider::new(&url).await);
    let mut source = bus.subscribe().await.unwrap();
    outsider.publish(EVENTS, "team.42.sync.started", "{\"no\":").await;
    bus.tell(&event(None, started())).await.unwrap();
    assert_eq!(soon(source.next()).await.unwrap(), event(None, started()));
    never(source.next()).await;
}

/// A queue that outlives its subscriber would fill up for ever.
#[tokio::test]
async fn a_subscription_leaves_no_queue_behind() {
    let url = vhost().await;
    let (rabbit, outsider) = (open(&url).await, Outsider::new(&url).await);
    let mut source = rabbit.event_bus().subscribe().await.unwrap();
    rabbit.event_bus().tell(&event(None, started())).await.unwrap();
    soon(source.next()).await.unwrap();
    drop(source);
    // Mandatory, and nobody is bound any more: it comes back.
    super::must("the queue to go", async {
        let key = "team.42.sync.started";
        while outsider.publish(EVENTS, key, "{}").await == lapin::Confirmation::Ack(None) {}
    })
    .await;
}
