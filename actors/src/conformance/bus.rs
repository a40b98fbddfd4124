//! The exams of the buses: jobs, events, wake-ups.

/// The exam of the job bus.
pub mod job_bus {
    use std::sync::Arc;

    use async_trait::async_trait;

    use crate::conformance::{never, soon};
    use crate::domain::job::Lane;
    use crate::domain::{Class, JobId};
    use crate::ports::job_bus::{JOB_SCHEMA_VERSION, JobBus, JobMessage};
    use crate::testkit::fixtures::environments_of;

    /// A job bus with empty queues.
    pub struct Subject {
        /// The adapter.
        pub bus: Arc<dyn JobBus>,
        /// What a foreign publisher could do.
        pub foreign: Arc<dyn ForeignPublisher>,
    }

    /// Publishes bodies that our own publisher would never write.
    #[async_trait]
    pub trait ForeignPublisher: Send + Sync {
        /// Puts the body into the lane's queue as it is.
        async fn publish_raw(&self, lane: Lane, body: &str);
    }

    fn message(job: i64, class: Class) -> JobMessage {
        JobMessage {
            schema_version: JOB_SCHEMA_VERSION,
            job: JobId(job),
            key: environments_of(job),
            class,
            trace_parent: None,
        }
    }

    /// A message arrives once in the queue of its class, as it was sent.
    pub async fn a_message_arrives_in_its_lane(subject: &Subject) {
        let mut consumers = Vec::new();
        for lane in Lane::ALL {
            consumers.push(subject.bus.consume(lane, 1).await.unwrap());
        }
        for class in Class::ALL {
            let sent = message(class.rank().into(), class);
            subject.bus.publish(&sent).await.unwrap();
            let delivery = soon(consumers[class.lane() as usize].next()).await.unwrap();
            assert_eq!(delivery.message, Ok(sent));
            assert_eq!(delivery.lane, class.lane());
            assert!(!delivery.redelivered);
            delivery.ack().await.unwrap();
        }
    }

    /// What was acked does not come again.
    pub async fn an_acked_message_is_gone(subject: &Subject) {
        subject.bus.publish(&message(1, Class::Manual)).await.unwrap();
        let mut consumer = subject.bus.consume(Lane::High, 4).await.unwrap();
        soon(consumer.next()).await.unwrap().ack().await.unwrap();
        never(consumer.next()).await;
        drop(consumer);
        let mut successor = subject.bus.consume(Lane::High, 4).await.unwrap();
        never(successor.next()).await;
    }

    /// Dropped unsettled, it comes again and says so.
    pub async fn a_dropped_delivery_comes_again(subject: &Subject) {
        subject.bus.publish(&message(1, Class::Manual)).await.unwrap();
        let mut consumer = subject.bus.consume(Lane::High, 1).await.unwrap();
        drop(soon(consumer.next()).await.unwrap());
        let again = soon(consumer.next()).await.unwrap();
        assert!(again.redelivered);
        assert_eq!(again.message.as_ref().map(|message| message.job), Ok(JobId(1)));
        again.ack().await.unwrap();
    }

    /// No more unsettled deliveries than the prefetch window.
    pub async fn the_prefetch_window_holds(subject: &Subject) {
        for job in 1..=3 {
            subject.bus.publish(&message(job, Class::Schedule)).await.unwrap();
        }
        let mut consumer = subject.bus.consume(Lane::Normal, 2).await.unwrap();
        let first = soon(consumer.next()).await.unwrap();
        let second = soon(consumer.next()).await.unwrap();
        never(consumer.next()).await;
        first.ack().await.unwrap();
        let third = soon(consumer.next()).await.unwrap();
        second.ack().await.unwrap();
        third.ack().await.unwrap();
    }

    /// A dead letter is set aside, counted, and never looped.
    pub async fn a_dead_letter_is_set_aside(subject: &Subject) {
        subject.bus.publish(&message(1, Class::Backfill)).await.unwrap();
        let mut consumer = subject.bus.consume(Lane::Low, 1).await.unwrap();
        soon(consumer.next()).await.unwrap().dead_letter("poison").await.unwrap();
        never(consumer.next()).await;
        assert_eq!(subject.bus.depths().await.unwrap().dead, 1);
    }

    /// What cannot be read is delivered as such, so that the intake decides.
    pub async fn an_unreadable_message_is_told(subject: &Subject) {
        subject.foreign.publish_raw(Lane::High, "{\"job\":").await;
        let mut consumer = subject.bus.consume(Lane::High, 1).await.unwrap();
        let delivery = soon(consumer.next()).await.unwrap();
        assert!(delivery.message.is_err());
        delivery.dead_letter("unreadable").await.unwrap();
    }

    /// A newer writer's additions are ignored.
    pub async fn unknown_fields_are_ignored(subject: &Subject) {
        let mut body = serde_json::to_value(message(5, Class::Manual)).unwrap();
        body["schema_version"] = 2.into();
        body["added_later"] = serde_json::json!({"deep": [1, 2]});
        subject.foreign.publish_raw(Lane::High, &body.to_string()).await;
        let mut consumer = subject.bus.consume(Lane::High, 1).await.unwrap();
        let delivery = soon(consumer.next()).await.unwrap();
        assert_eq!(delivery.message.as_ref().map(|message| message.job), Ok(JobId(5)));
        delivery.ack().await.unwrap();
    }

    /// A message that is too large for the bus is refused, not sent.
    pub async fn an_oversized_message_is_refused(subject: &Subject) {
        let large =
            JobMessage { trace_parent: Some("x".repeat(5000)), ..message(1, Class::Manual) };
        let refused = subject.bus.publish(&large).await.expect_err("it was too large");
        assert!(!refused.is_transient());
    }

    /// Two consumers of a lane share its messages.
    pub async fn two_consumers_share_a_lane(subject: &Subject) {
        let mut one = subject.bus.consume(Lane::Normal, 1).await.unwrap();
        let mut two = subject.bus.consume(Lane::Normal, 1).await.unwrap();
        for job in 1..=2 {
            subject.bus.publish(&message(job, Class::Retry)).await.unwrap();
        }
        let (first, second) = (soon(one.next()).await.unwrap(), soon(two.next()).await.unwrap());
        let mut jobs = [&first, &second].map(|delivery| delivery.message.as_ref().unwrap().job);
        jobs.sort_unstable();
        assert_eq!(jobs, [JobId(1), JobId(2)]);
        first.ack().await.unwrap();
        second.ack().await.unwrap();
    }

    /// Tests of a [`JobBus`] adapter; see [`conformance`](crate::conformance).
    #[macro_export]
    macro_rules! job_bus_exam {
        ($attr:tt, $make:expr) => {
            $crate::exam!($attr, $make, job_bus:
                a_message_arrives_in_its_lane, an_acked_message_is_gone,
                a_dropped_delivery_comes_again, the_prefetch_window_holds,
                a_dead_letter_is_set_aside, an_unreadable_message_is_told,
                unknown_fields_are_ignored, an_oversized_message_is_refused,
                two_consumers_share_a_lane);
        };
    }
}

/// The exam of the event bus.
pub mod event_bus {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use crate::conformance::{never, soon};
    use crate::domain::event::Started;
    use crate::domain::{Event, EventBody, EventNo, JobId, Mode, Scope, TeamId};
    use crate::ports::event_bus::EventBus;

    /// An event bus, as two replicas see it; both may be the same.
    pub struct Subject {
        /// The teller's.
        pub here: Arc<dyn EventBus>,
        /// The listener's.
        pub there: Arc<dyn EventBus>,
    }

    fn started(job: i64, no: Option<EventNo>) -> Event {
        Event {
            team_id: TeamId(1),
            no,
            at: OffsetDateTime::UNIX_EPOCH,
            body: EventBody::Started(Started {
                job_id: JobId(job),
                scope: Scope::Environments,
                mode: Mode::Full,
                attempt: 1,
            }),
        }
    }

    /// Every subscriber of every replica hears a passing event, in order.
    pub async fn every_replica_hears(subject: &Subject) {
        let mut here = subject.here.subscribe().await.unwrap();
        let mut there = subject.there.subscribe().await.unwrap();
        for job in 1..=3 {
            subject.here.tell(&started(job, None)).await.unwrap();
        }
        for job in 1..=3 {
            assert_eq!(soon(here.next()).await.unwrap(), started(job, None));
            assert_eq!(soon(there.next()).await.unwrap(), started(job, None));
        }
    }

    /// A subscription begins when it is made.
    pub async fn the_past_is_not_told(subject: &Subject) {
        subject.here.tell(&started(1, None)).await.unwrap();
        let mut there = subject.there.subscribe().await.unwrap();
        never(there.next()).await;
    }

    /// Relayed copies are for outside consumers alone.
    pub async fn relayed_copies_are_not_passing_events(subject: &Subject) {
        let mut there = subject.there.subscribe().await.unwrap();
        subject.here.relay(&started(1, Some(EventNo(1)))).await.unwrap();
        never(there.next()).await;
    }

    /// A subscriber that never reads keeps nobody waiting.
    pub async fn a_slow_subscriber_delays_nobody(subject: &Subject) {
        let _asleep = subject.there.subscribe().await.unwrap();
        soon(async {
            for job in 0..5000 {
                subject.here.tell(&started(job, None)).await.unwrap();
            }
        })
        .await;
    }

    /// Tests of an [`EventBus`] adapter; see [`conformance`](crate::conformance).
    #[macro_export]
    macro_rules! event_bus_exam {
        ($attr:tt, $make:expr) => {
            $crate::exam!($attr, $make, event_bus:
                every_replica_hears, the_past_is_not_told, relayed_copies_are_not_passing_events,
                a_slow_subscriber_delays_nobody);
        };
    }
}

/// The exam of wake-ups.
pub mod signals {
    use std::sync::Arc;

    use crate::conformance::{never, soon};
    use crate::domain::TeamId;
    use crate::ports::signals::{Heard, Signal, SignalListener, Signals};

    /// Wake-ups, as two replicas see them; both may be the same.
    pub struct Subject {
        /// The sender's.
        pub here: Arc<dyn Signals>,
        /// The listener's.
        pub there: Arc<dyn Signals>,
    }

    async fn hears(listener: &mut Box<dyn SignalListener>, wanted: Signal) {
        soon(async {
            loop {
                match listener.next().await {
                    Heard::Signal(signal) if signal == wanted => return,
                    // A connection that was made anew says so first.
                    Heard::Signal(_) | Heard::Lagged => {}
                    Heard::Closed => panic!("the listener was closed"),
                }
            }
        })
        .await;
    }

    /// Each kind arrives, here and there.
    pub async fn every_listener_hears(subject: &Subject) {
        let (mut here, mut there) = (subject.here.listen(), subject.there.listen());
        for signal in [
            Signal::StatesDue,
            Signal::QueueMoved,
            Signal::Outbox(TeamId(42)),
            Signal::RunsChanged(TeamId(7)),
        ] {
            subject.here.send(signal);
            hears(&mut here, signal).await;
            hears(&mut there, signal).await;
        }
    }

    /// Nobody listening is no trouble, and the past is not told.
    pub async fn the_past_is_not_told(subject: &Subject) {
        subject.here.send(Signal::Outbox(TeamId(1)));
        let mut there = subject.there.listen();
        never(async { while there.next().await != Heard::Signal(Signal::Outbox(TeamId(1))) {} })
            .await;
    }

    /// Tests of a [`Signals`] adapter; see [`conformance`](crate::conformance).
    #[macro_export]
    macro_rules! signals_exam {
        ($attr:tt, $make:expr) => {
            $crate::exam!($attr, $make, signals: every_listener_hears, the_past_is_not_told);
        };
    }
}
