//! What is sent to the server in one go: commands, or a script.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisResult, ToRedisArgs, Value};

use super::error::is_no_script;

/// A Lua file with its SHA-1.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A run of the script over these keys.
    pub(super) fn over(&'static self, keys: &[&str]) -> Question {
        let args = keys.iter().flat_map(ToRedisArgs::to_redis_args).collect();
        Question { writes: true, what: What::Script { script: self, keys: keys.len(), args } }
    }
}

/// One question, answered in one go.
pub(super) struct Question {
    /// Whether it changes anything.
    pub(super) writes: bool,
    what: What,
}

enum What {
    Commands(Pipeline),
    Script { script: &'static Script, keys: usize, args: Vec<Vec<u8>> },
}

impl Question {
    /// Commands that change nothing; the answer is the list of their answers.
    pub(super) fn reading(commands: Pipeline) -> Self {
        Self { writes: false, what: What::Commands(commands) }
    }

    /// One more argument for a script.
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        if let What::Script { args, .. } = &mut self.what {
            args.extend(arg.to_redis_args());
        }
        self
    }

    /// Asks, on a connection that nobody else uses.
    pub(super) async fn put(&self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match &self.what {
            What::Commands(commands) => commands.query_async(connection).await,
            What::Script { script, keys, args } => {
                let by_hash = call("EVALSHA", &script.hash, *keys, args);
                match connection.req_packed_command(&by_hash).await.and_then(Value::extract_error) {
                    // New or flushed: with its text the server runs and keeps it,
                    // whatever another client flushes meanwhile.
                    Err(error) if is_no_script(&error) => {
                        let by_text = call("EVAL", script.text, *keys, args);
                        by_text.query_async(connection).await
                    }
                    answer => answer,
                }
            }
        }
    }
}

fn call(verb: &str, script: &str, keys: usize, args: &[Vec<u8>]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys).arg(args);
    command
}
