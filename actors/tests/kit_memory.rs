//! What an idle pool child costs. Alone in its process, because it reads the process's memory.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vz_sync_actors::kit::*;

struct Idle;
enum IdleMsg {
    Ping(Reply<()>),
}

impl Message for IdleMsg {
    fn name(&self) -> &'static str {
        "ping"
    }
}

#[async_trait]
impl Behaviour for Idle {
    type Msg = IdleMsg;
    type Args = ();
    const KIND: &'static str = "idle";

    async fn start((): (), _ctx: &Context<Self>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, message: IdleMsg, _ctx: &Context<Self>) -> Result<(), ActorError> {
        let IdleMsg::Ping(reply) = message;
        reply.send(());
        Ok(())
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_live_idle_child_costs_at_most_16_kib() {
    const CHILDREN: usize = 2000;
    let roster = Roster::new(Arc::new(|| time::macros::datetime!(2026-11-01 12:00 UTC)), 1);
    let pool = Mailbox::new::<Pool<usize, Idle>>(ActorId::root().child("pool"), 100, &roster);
    let args = PoolArgs::<usize, Idle>::new(PoolSettings::default(), |_| ());
    let child = Child::permanent::<Pool<usize, Idle>>(&pool, args, RestartPolicy::default());
    let tree = Supervised::start(&roster, vec![child]).await.unwrap();
    let before = resident_bytes();
    for key in 0..CHILDREN {
        let request = |reply| PoolMsg::Route { key, message: IdleMsg::Ping(reply) };
        pool.ask(Duration::from_secs(30), request).await.unwrap();
    }
    let each = (resident_bytes() - before) / CHILDREN;
    assert!(each <= 16 * 1024, "an idle child costs {each} bytes");
    assert!(tree.shutdown().await.overdue.is_empty());
}
