//! How connections are made, tried and given up.
//!
//! The manager of bb8-redis never calls a connection broken, and waits for a
//! server that refuses every attempt. This one wraps it: a connection whose
//! question was not answered in time is dropped, and a failed attempt is told
//! to whoever waits.

use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use bb8_redis::bb8::ManageConnection;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError};
use tokio::sync::watch;
use tokio::time::timeout;

/// A connection of the pool.
pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    /// A question is under way, or was left without an answer: an answer that
    /// is still to come belongs to somebody who is gone.
    pub(super) spoiled: bool,
}

/// Makes connections.
pub(super) struct Manager {
    inner: RedisConnectionManager,
    deadline: Duration,
    failed: watch::Sender<Option<RedisError>>,
}

impl Manager {
    pub(super) fn new(
        inner: RedisConnectionManager,
        deadline: Duration,
        failed: watch::Sender<Option<RedisError>>,
    ) -> Self {
        Self { inner, deadline, failed }
    }

    async fn open(&self) -> Result<Connection, RedisError> {
        let mut redis = match timeout(self.deadline, self.inner.connect()).await {
            Ok(connected) => connected?,
            Err(_) => return Err(late("no connection within", self.deadline)),
        };
        // The callers' own deadline is the one that counts.
        redis.set_response_timeout(self.deadline);
        Ok(Connection { redis, spoiled: false })
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        let opened = self.open().await;
        if let Err(error) = &opened {
            self.failed.send_replace(Some(error.clone()));
        }
        opened
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        // Stays so when the caller gives up before the answer.
        connection.spoiled = true;
        match timeout(self.deadline, self.inner.is_valid(&mut connection.redis)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(late("no answer to PING within", self.deadline)),
        }
        connection.spoiled = false;
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.spoiled
    }
}

/// A deadline has passed.
fn late(what: &'static str, deadline: Duration) -> RedisError {
    RedisError::from((ErrorKind::Io, what, format!("{deadline:?}")))
}
