//! The due queue in Redis.
//!
//! Two sorted sets, waiting by score and in flight by deadline, and a hash of
//! payloads beside them. Each step is one script, so that a member is always
//! in one place, whoever dies in between; the clock is the server's.
//!
//! A payload is the JSON of its [`DueEntry`], trace context included, under
//! the member `team:scope`. In flight it stands under `inflight:team:scope`,
//! behind its score, so that the same scope may become due meanwhile.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::{FromRedisValue, Value, from_redis_value};
use tracing::error;
use vz_sync_actors::domain::ScopeKey;
use vz_sync_actors::domain::job::Lane;
use vz_sync_actors::ports::PortResult;
use vz_sync_actors::ports::due_queue::{DueEntry, DueQueue, QueueDepths, RANK_SPAN};

use super::error::unreadable;
use super::pool::RedisPool;
use super::question::{Question, Script};

/// Waiting: `team:scope` by score.
pub const DUE: &str = "vz:sync:due";
/// Popped and not confirmed: `team:scope` by deadline in ms.
pub const IN_FLIGHT: &str = "vz:sync:inflight";
/// Payloads.
pub const PAYLOAD: &str = "vz:sync:payload";
/// What could not be read, for people: a member and what stood under it.
pub const BAD: &str = "vz:sync:bad";

/// A key that nobody touches for so long is gone.
const KEY_TTL: Duration = Duration::from_hours(24);

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("lua/common.lua"),
                include_str!(concat!("lua/", $file))
            ))
        })
    };
}

static ENQUEUE: LazyLock<Script> = script!("enqueue.lua");
static POP: LazyLock<Script> = script!("pop.lua");
static CONFIRM: LazyLock<Script> = script!("confirm.lua");
static PUT_BACK: LazyLock<Script> = script!("put_back.lua");
static SET_ASIDE: LazyLock<Script> = script!("set_aside.lua");

/// The due queue that all replicas share.
#[derive(Debug, Clone)]
pub struct RedisDueQueue {
    pool: RedisPool,
}

impl RedisDueQueue {
    /// Keeps it through `pool`.
    pub const fn new(pool: RedisPool) -> Self {
        Self { pool }
    }

    /// Moves what cannot be read out of the way.
    async fn set_aside(&self, members: &[Vec<u8>], reason: &str) -> PortResult<()> {
        error!(
            event = "vz_sync_due_unreadable",
            count = members.len(),
            reason,
            "entries of the due queue cannot be read and are set aside"
        );
        let question = SET_ASIDE.over(&[IN_FLIGHT, PAYLOAD, BAD]).arg(KEY_TTL.as_secs());
        self.pool.ask(&question.arg(members)).await.map(drop)
    }
}

#[async_trait]
impl DueQueue for RedisDueQueue {
    async fn enqueue(&self, entries: &[DueEntry]) -> PortResult<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut question = ENQUEUE.over(&[DUE, PAYLOAD]).arg(KEY_TTL.as_secs());
        for entry in entries {
            let payload = serde_json::to_string(entry).map_err(|error| {
                unreadable(format!("the entry of {} cannot be written: {error}", entry.key))
            })?;
            question = question.arg(entry.key.to_string()).arg(entry.score()).arg(payload);
        }
        self.pool.ask(&question).await.map(drop)
    }

    async fn pop(&self, lane: Lane, limit: usize, lease: Duration) -> PortResult<Vec<DueEntry>> {
        let (from, to) = scores(lane);
        let question = POP
            .over(&[DUE, IN_FLIGHT, PAYLOAD, BAD])
            .arg(KEY_TTL.as_secs())
            .arg(from)
            .arg(to)
            .arg(limit)
            .arg(lease.as_millis() as u64);
        let popped: Vec<(Vec<u8>, Vec<u8>)> = read(self.pool.ask(&question).await?)?;
        let mut entries = Vec::with_capacity(popped.len());
        let (mut foreign, mut reason) = (Vec::new(), String::new());
        for (member, payload) in popped {
            match entry(&member, &payload) {
                Ok(entry) => entries.push(entry),
                Err(why) => {
                    foreign.push(member);
                    reason = why;
                }
            }
        }
        if !foreign.is_empty() {
            // Failing costs a look at them after their lease, and never the good ones.
            let _ = self.set_aside(&foreign, &reason).await;
        }
        Ok(entries)
    }

    async fn confirm(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let question = CONFIRM.over(&[IN_FLIGHT, PAYLOAD]).arg(KEY_TTL.as_secs());
        self.pool.ask(&question.arg(members(keys))).await.map(drop)
    }

    async fn put_back(&self, keys: &[ScopeKey]) -> PortResult<()> {
        let question = PUT_BACK.over(&[DUE, IN_FLIGHT, PAYLOAD, BAD]).arg(KEY_TTL.as_secs());
        self.pool.ask(&question.arg(members(keys))).await.map(drop)
    }

    async fn depths(&self) -> PortResult<QueueDepths> {
        let mut ask = redis::pipe();
        for lane in Lane::ALL {
            let (from, to) = scores(lane);
            ask.zcount(DUE, from, format!("({to}"));
        }
        ask.zcard(IN_FLIGHT).hlen(BAD);
        let [high, normal, low, in_flight, bad] =
            read(self.pool.ask(&Question::reading(ask)).await?)?;
        Ok(QueueDepths { high, normal, low, in_flight, bad, ..QueueDepths::default() })
    }

    async fn position(&self, key: ScopeKey) -> PortResult<Option<u64>> {
        let mut ask = redis::pipe();
        ask.zrank(DUE, key.to_string());
        let [place] = read(self.pool.ask(&Question::reading(ask)).await?)?;
        Ok(place)
    }
}

/// The scores of a lane: the lowest, and the one above the highest.
fn scores(lane: Lane) -> (i64, i64) {
    let (first, last) = lane.ranks();
    (i64::from(first) * RANK_SPAN, (i64::from(last) + 1) * RANK_SPAN)
}

fn members(keys: &[ScopeKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// Reads a payload, or says why not; what it holds may be anybody's, and is
/// not told.
fn entry(member: &[u8], payload: &[u8]) -> Result<DueEntry, String> {
    if payload.is_empty() {
        return Err("the payload is gone".to_owned());
    }
    let entry: DueEntry = serde_json::from_slice(payload)
        .map_err(|error| format!("not a due entry: {:?} error", error.classify()))?;
    if entry.key.to_string().as_bytes() == member {
        Ok(entry)
    } else {
        Err("the payload is another scope's".to_owned())
    }
}

fn read<T: FromRedisValue>(answer: Value) -> PortResult<T> {
    from_redis_value(answer).map_err(|error| unreadable(format!("unexpected answer: {error}")))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use vz_sync_actors::domain::{Class, JobId, Scope, TeamId};

    use super::*;

    fn an_entry() -> DueEntry {
        DueEntry {
            key: ScopeKey::new(TeamId(7), Scope::JobLogs),
            job: JobId(9),
            class: Class::Demand,
            deadline: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }
    }

    #[test]
    fn the_payload_is_a_promise_to_the_other_replicas() {
        let json = serde_json::to_string(&an_entry()).unwrap();
        let promised = concat!(
            r#"{"key":{"team":7,"scope":"job_logs"},"job":9,"class":"demand","#,
            r#""deadline":"2027-01-15T08:00:00Z","#,
            r#""trace_parent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#
        );
        assert_eq!(json, promised);
        assert_eq!(entry(b"7:job_logs", json.as_bytes()), Ok(an_entry()));
        let newer = json.replacen('{', r#"{"colour":"blue","#, 1);
        assert_eq!(entry(b"7:job_logs", newer.as_bytes()), Ok(an_entry()), "unknown fields pass");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_content() {
        let json = serde_json::to_string(&an_entry()).unwrap();
        let secret = r#"{"key":"hunter2"}"#;
        for (member, payload) in
            [("7:job_logs", ""), ("7:job_logs", "{"), ("7:job_logs", secret), ("8:job_logs", &json)]
        {
            let reason = entry(member.as_bytes(), payload.as_bytes()).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn lanes_share_no_score() {
        let [high, normal, low] = Lane::ALL.map(scores);
        assert_eq!((high.0, high.1, normal.1), (0, normal.0, low.0));
        let score = an_entry().score();
        assert!(high.0 <= score && score < high.1);
    }
}
