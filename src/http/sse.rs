//! A team's event stream as bytes: replay from the outbox, then live, without
//! a gap or a repeat.
//!
//! Each event is rendered once for all subscribers, and a stream holds one
//! timer that is moved only when it fires, so an event costs a client one
//! copy of a pointer. A client that reads too slowly is cut off by its own
//! ring, and resumes from the outbox when it comes back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use vz_sync_actors::domain::{Event, EventNo, TeamId};
use vz_sync_actors::subscription::Subscription;

use super::engine::Engine;
use super::slots::Slot;

/// Events read from the outbox at once while a client catches up.
const REPLAY_BATCH: usize = 500;
/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2000;
const HEARTBEAT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// One event as a frame. Names are from a fixed set and data is one line of
/// JSON, so nothing that came from outside can break out of its line.
pub fn frame(event: &Event) -> Bytes {
    let data = serde_json::to_string(event).unwrap_or_default();
    let kind = event.body.kind();
    Bytes::from(match event.no {
        Some(no) => format!("id: {no}\nevent: {kind}\ndata: {data}\n\n"),
        None => format!("event: {kind}\ndata: {data}\n\n"),
    })
}

/// Tells the client that events are missing: it must read the state anew.
fn resync(reason: &str, id: Option<EventNo>) -> Bytes {
    let data = json!({ "reason": reason });
    let id = id.map(|no| format!("id: {no}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: resync\ndata: {data}\n\n"))
}

/// Where a stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// After this number, which the outbox still reaches.
    After(EventNo),
    /// The client's number is not followed by what the outbox holds.
    TooOld,
}

/// What a stream is made of.
pub struct Opening {
    /// Whose events.
    pub team: TeamId,
    /// For replays.
    pub engine: Arc<dyn Engine>,
    /// Live events.
    pub subscription: Subscription,
    /// Where to start.
    pub start: Start,
    /// Silence before a comment.
    pub heartbeat: Duration,
    /// When the token ends.
    pub ends_at: Instant,
    /// Ends with the service.
    pub stopping: CancellationToken,
    /// The stream's place.
    pub slot: Slot,
}

struct Feed {
    team: TeamId,
    engine: Arc<dyn Engine>,
    live: Subscription,
    /// Durable events up to this number have been sent.
    sent: EventNo,
    /// Replay up to here before anything live.
    replay_to: EventNo,
    ready: VecDeque<Bytes>,
    heartbeat: Duration,
    quiet_since: Instant,
    ends_at: Instant,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    last: bool,
    _slot: Slot,
}

/// The stream of frames.
pub fn stream(opening: Opening) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let Opening { team, engine, subscription, start, heartbeat, ends_at, stopping, slot } = opening;
    let from = subscription.from;
    let mut ready = VecDeque::new();
    let sent = match start {
        // The id alone tells the client where it stands; it makes no event.
        Start::Now => {
            ready.push_back(Bytes::from(format!("retry: {RETRY_MS}\nid: {from}\n\n")));
            from
        }
        Start::After(no) => {
            ready.push_back(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
            no
        }
        Start::TooOld => {
            ready.push_back(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
            ready.push_back(resync("gap_too_old", Some(from)));
            from
        }
    };
    let now = Instant::now();
    let feed = Feed {
        team,
        engine,
        live: subscription,
        sent,
        replay_to: from,
        ready,
        heartbeat,
        quiet_since: now,
        ends_at,
        timer: Box::pin(sleep_until(ends_at.min(now + heartbeat))),
        stopping: Box::pin(stopping.cancelled_owned()),
        last: false,
        _slot: slot,
    };
    unfold(feed, |mut feed| async move { feed.next().await.map(|bytes| (Ok(bytes), feed)) })
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.quiet_since = Instant::now();
                return Some(bytes);
            }
            if self.last || Instant::now() >= self.ends_at {
                return None;
            }
            if self.sent < self.replay_to {
                self.replay().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// Reads the next events that the client has not seen.
    async fn replay(&mut self) {
        match self.engine.replay(self.team, self.sent, REPLAY_BATCH).await {
            Ok(events) if events.is_empty() => {
                // Trimmed while the client was catching up.
                self.ready.push_back(resync("gap_too_old", Some(self.replay_to)));
                self.sent = self.replay_to;
            }
            Ok(events) => {
                for event in events {
                    let Some(no) = event.no.filter(|no| *no > self.sent) else { continue };
                    if no > EventNo(self.sent.0 + 1) {
                        self.ready.push_back(resync("gap_too_old", None));
                    }
                    self.sent = no;
                    self.ready.push_back(frame(&event));
                }
            }
            Err(error) => {
                tracing::warn!(event = "sse_replay_failed", team_id = self.team.0, error = %error, "an event stream ends early");
                // The client comes back with the last number it saw.
                self.last = true;
            }
        }
    }

    /// Waits for the next event, the heartbeat or the end.
    async fn wait(&mut self) {
        tokio::select! {
            biased;
            told = self.live.live.recv() => match told {
                Ok(told) => match told.event.no {
                    Some(no) if no <= self.sent => {}
                    // Cannot be, unless the hub was made anew: fill it up.
                    Some(no) if no.0 > self.sent.0 + 1 => self.replay_to = no,
                    no => {
                        self.sent = no.unwrap_or(self.sent);
                        self.ready.push_back(told.frame(frame));
                    }
                },
                Err(RecvError::Lagged(_)) => {
                    self.ready.push_back(resync("lagged", None));
                    self.last = true;
                }
                Err(RecvError::Closed) => self.last = true,
            },
            () = &mut self.stopping => self.last = true,
            () = &mut self.timer => self.beat(),
        }
    }

    /// The timer fired. It is not moved for every event, so the silence may
    /// have begun only a moment ago.
    fn beat(&mut self) {
        let now = Instant::now();
        if now >= self.ends_at {
            self.last = true;
            return;
        }
        let mut next = self.quiet_since + self.heartbeat;
        if next <= now {
            self.ready.push_back(HEARTBEAT);
            next = now + self.heartbeat;
        }
        self.timer.as_mut().reset(next.min(self.ends_at));
    }
}
