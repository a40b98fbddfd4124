//! The event stream: resume without a gap or a repeat, heartbeat, end.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use super::world::{World, config, request};
use crate::http::auth::{Role, unix_now};

const EVENTS: &str = "/api/v1/teams/1/events";
const SYNC: &str = "/api/v1/teams/1/vz-sync";

/// One frame, taken apart.
#[derive(Debug, Default, PartialEq)]
struct Frame {
    id: Option<i64>,
    event: Option<String>,
    data: Value,
    comment: bool,
}

struct Stream(BodyDataStream, Vec<u8>);

impl Stream {
    async fn open(world: &World, headers: &[(&str, &str)]) -> Self {
        let response =
            world.router.clone().oneshot(request("GET", EVENTS, headers, "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(Body::into_data_stream(response.into_body()), Vec::new())
    }

    /// The next frame; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.1.windows(2).position(|two| two == b"\n\n") {
                let text = String::from_utf8(self.1.drain(..end + 2).collect()).unwrap();
                return Some(parse(&text));
            }
            self.1.extend_from_slice(&self.0.next().await?.unwrap());
        }
    }

    /// The next durable event.
    async fn durable(&mut self) -> Frame {
        loop {
            let frame = self.next().await.expect("the stream ended");
            if frame.id.is_some() && frame.event.is_some() {
                return frame;
            }
        }
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => frame.id = Some(id.parse().unwrap()),
            Some(("event", event)) => frame.event = Some(event.to_owned()),
            Some(("data", data)) => frame.data = serde_json::from_str(data).unwrap(),
            Some(("", _)) => frame.comment = true,
            _ => {}
        }
    }
    frame
}

/// Makes runs until the team has at least this many events.
async fn events(world: &World, count: i64) {
    for runs in 1.. {
        world.post(SYNC, r#"{"scope":"environments"}"#).await;
        world.synced(runs + 1).await;
        let bounds = world.api.engine.outbox_bounds(vz_sync_actors::domain::TeamId(1)).await;
        if bounds.unwrap().is_some_and(|bounds| bounds.last.0 >= count) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_live() {
    let world = World::mirrored().await;
    let mut stream = Stream::open(&world, &[("authorization", &world.owner())]).await;
    let hello = stream.next().await.unwrap();
    assert!(hello.id.is_some() && hello.event.is_none(), "only the number: {hello:?}");
    // Passing and durable events take different ways: only a run that lasts
    // is sure to be seen beginning before it is seen ended.
    *world.platform.latency.lock().unwrap() = Duration::from_millis(50);
    let answer = world.post(SYNC, r#"{"scope":"environments","mode":"full"}"#).await;
    let job = &answer.json["jobs"][0]["job_id"];
    let mut passing = Vec::new();
    let done = loop {
        let frame = stream.next().await.unwrap();
        if frame.data["data"]["job_id"] != *job {
            continue;
        }
        if frame.event.as_deref() == Some("sync.completed") {
            break frame;
        }
        assert!(frame.id.is_none(), "passing events have no number: {frame:?}");
        passing.push(frame.event.unwrap());
    };
    assert!(passing.iter().any(|event| event == "sync.started"), "{passing:?}");
    assert!(done.id > hello.id && done.data["type"] == "sync.completed");
    assert_eq!(done.data["data"]["scope"], "environments");
}

#[tokio::test(start_paused = true)]
async fn a_resume_loses_and_repeats_nothing() {
    let world = World::mirrored().await;
    events(&world, 4).await;
    let owner = world.owner();
    for (last, path_only) in [(0, false), (2, false), (2, true)] {
        let number = last.to_string();
        let header = [("authorization", owner.as_str()), ("last-event-id", number.as_str())];
        let mut stream = if path_only {
            let path = format!("{EVENTS}?last_event_id={last}");
            let ask = request("GET", &path, &header[..1], "");
            let response = world.router.clone().oneshot(ask).await.unwrap();
            Stream(response.into_body().into_data_stream(), Vec::new())
        } else {
            Stream::open(&world, &header).await
        };
        // A run in the middle of the replay comes after it, once.
        world.post(SYNC, r#"{"scope":"environments"}"#).await;
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let frame = stream.durable().await;
            assert_ne!(frame.event.as_deref(), Some("resync"));
            seen.push(frame.id.unwrap());
        }
        let expected: Vec<i64> = (last + 1..).take(seen.len()).collect();
        assert_eq!(seen, expected, "after {last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_cannot_be_filled_is_told() {
    let world = World::mirrored().await;
    let owner = world.owner();
    let last = i64::MAX.to_string();
    let headers = [("authorization", owner.as_str()), ("last-event-id", &last)];
    let mut stream = Stream::open(&world, &headers).await;
    assert_eq!(stream.durable().await.event.as_deref(), Some("resync"), "the last number there is");
    let headers = [("authorization", owner.as_str()), ("last-event-id", "99999")];
    let mut stream = Stream::open(&world, &headers).await;
    let frame = stream.durable().await;
    assert_eq!(frame.event.as_deref(), Some("resync"));
    assert_eq!(frame.data["reason"], "gap_too_old");
    let from = frame.id.unwrap();
    world.post(SYNC, r#"{"scope":"environments"}"#).await;
    assert_eq!(stream.durable().await.id, Some(from + 1), "live goes on after it");
    for odd in ["abc", "-1", "1.5"] {
        let headers = [("authorization", owner.as_str()), ("last-event-id", odd)];
        let answer = world.send("GET", EVENTS, &headers, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{odd}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_and_the_token_ends_the_stream() {
    let world = World::start().await;
    // Team 2 has no key, so nothing happens there.
    let token = world.minted(&[(2, Role::Developer)], unix_now(), 40);
    let ask = request("GET", "/api/v1/teams/2/events", &[("authorization", &token)], "");
    let response = world.router.clone().oneshot(ask).await.unwrap();
    let mut stream = Stream(response.into_body().into_data_stream(), Vec::new());
    let started = Instant::now();
    stream.next().await.unwrap();
    for beat in 1..=2 {
        assert!(stream.next().await.unwrap().comment);
        assert_eq!(started.elapsed().as_secs(), beat * 15);
    }
    assert_eq!(stream.next().await, None);
    let lived = started.elapsed();
    assert!((Duration::from_secs(38)..=Duration::from_secs(40)).contains(&lived), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn the_service_ends_streams_when_it_stops() {
    let world = World::mirrored().await;
    let mut stream = Stream::open(&world, &[("authorization", &world.owner())]).await;
    stream.next().await.unwrap();
    assert_eq!(world.api.metrics.sse_clients.get(), 1);
    world.api.stopping.cancel();
    while stream.next().await.is_some() {}
    drop(stream);
    assert_eq!(world.api.metrics.sse_clients.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_are_limited_by_subject() {
    let mut config = config();
    config.limits.sse_clients_per_subject = 2;
    let world = World::start_with(config).await;
    let owner = world.owner();
    let headers = [("authorization", owner.as_str())];
    let _first = Stream::open(&world, &headers).await;
    let second = Stream::open(&world, &headers).await;
    let third = world.send("GET", EVENTS, &headers, "").await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(third.headers.contains_key("retry-after"));
    drop(second);
    Stream::open(&world, &headers).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_is_cut_off_and_resumes() {
    let world = World::mirrored().await;
    let mut stream = Stream::open(&world, &[("authorization", &world.owner())]).await;
    let hello = stream.next().await.unwrap().id.unwrap();
    // More than its ring holds, while it does not read.
    let most = world.engine.handle().settings().subscriber_buffer as i64;
    let bus = world.engine.handle().ports().event_bus.clone();
    let progress = vz_sync_actors::domain::Event {
        team_id: vz_sync_actors::domain::TeamId(1),
        no: None,
        at: time::OffsetDateTime::UNIX_EPOCH,
        body: vz_sync_actors::domain::EventBody::Progress(
            vz_sync_actors::domain::event::Progress {
                job_id: vz_sync_actors::domain::JobId(1),
                scope: vz_sync_actors::domain::Scope::JobLogs,
                phase: vz_sync_actors::domain::event::Phase::Fetch,
                done: 1,
                total: None,
            },
        ),
    };
    for _ in 0..most + 10 {
        bus.tell(&progress).await.unwrap();
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut last = None;
    while let Some(frame) = stream.next().await {
        last = Some(frame);
    }
    let last = last.unwrap();
    assert_eq!((last.event.as_deref(), last.id), (Some("resync"), None));
    assert_eq!(last.data["reason"], "lagged");
    let number = hello.to_string();
    let owner = world.owner();
    let headers = [("authorization", owner.as_str()), ("last-event-id", number.as_str())];
    let mut again = Stream::open(&world, &headers).await;
    world.post(SYNC, r#"{"scope":"environments"}"#).await;
    assert_eq!(again.durable().await.id, Some(hello + 1));
}
