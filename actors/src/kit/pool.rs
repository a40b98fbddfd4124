//! Actors by key: started on first use, restarted alone, passivated when idle.
//!
//! Only the pool sends to its children, and forwarding is a cast that never waits. A child that
//! fails waits out its own backoff; meanwhile its messages are refused, counted and dropped, so a
//! message must be safe to drop (it carries its own drop guard). A child past its intensity is
//! parked: it refuses until `reset_after` has passed or a human restarts it. Neither touches a
//! sibling or the pool.
//!
//! A child's timers do not keep it alive; a message in hand, a waiting one or a tracked task do.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::behaviour::{ActorError, Behaviour, ChildExit, Context};
use super::mailbox::Mailbox;
use super::pool_args::{PoolArgs, PoolKey, PoolMsg, Tick};
use super::restart::Lifetime;
use super::roster::Roster;
use super::slot::{Next, Slot, Stage, TypedSeat};
use super::task::TimerHandle;
use super::view::ExitCause;

/// Into how many parts a full pool is thought divided: one part makes room at once.
const EVICTED_AT_ONCE: usize = 16;

/// The actor that owns the children.
pub struct Pool<K: PoolKey, B: Behaviour> {
    args: PoolArgs<K, B>,
    roster: Roster,
    members: BTreeMap<K, Member<B::Msg>>,
    /// Who runs, by ractor's id: exits are told by it. Looked up only, never iterated.
    running: HashMap<ractor::ActorId, K>,
    sweep: TimerHandle,
}

struct Member<M> {
    slot: Slot,
    mailbox: Mailbox<M>,
    /// Came while the child was stopping; given to the incarnation that follows.
    held: VecDeque<M>,
}

#[derive(Serialize)]
struct Details {
    running: usize,
    members: usize,
    max_live: usize,
}

#[async_trait]
impl<K: PoolKey, B: Behaviour> Behaviour for Pool<K, B> {
    type Msg = PoolMsg<K, B::Msg>;
    type Args = PoolArgs<K, B>;
    const KIND: &'static str = B::POOL_KIND;

    async fn start(args: Self::Args, ctx: &Context<Self>) -> Result<Self, ActorError> {
        let sweep = ctx.send_after(args.settings.sweep, PoolMsg::Tick(Tick(None)));
        let (members, running) = (BTreeMap::new(), HashMap::new());
        let this = Self { args, roster: ctx.roster.clone(), members, running, sweep };
        this.show(ctx);
        Ok(this)
    }

    async fn handle(&mut self, message: Self::Msg, ctx: &Context<Self>) -> Result<(), ActorError> {
        match message {
            PoolMsg::Route { key, message } => self.route(key, message, ctx).await,
            PoolMsg::Stop { key } => self.stop_member(&key, false, ctx).await,
            PoolMsg::Restart { key } => {
                if let Some(member) = self.members.get_mut(&key) {
                    let next = member.slot.restart();
                    self.follow(&key, next, ctx).await;
                }
            }
            PoolMsg::Tick(Tick(Some(key))) => {
                if let Some(member) = self.members.get_mut(&key) {
                    let next = member.slot.due();
                    self.follow(&key, next, ctx).await;
                }
            }
            PoolMsg::Tick(Tick(None)) => {
                self.passivate(ctx).await;
                let again = PoolMsg::Tick(Tick(None));
                self.sweep = ctx.send_after(self.args.settings.sweep, again);
            }
        }
        Ok(())
    }

    async fn child_exited(
        &mut self,
        exit: ChildExit,
        ctx: &Context<Self>,
    ) -> Result<(), ActorError> {
        let Some(key) = self.running.remove(&exit.child) else { return Ok(()) };
        let Some(member) = self.members.get_mut(&key) else { return Ok(()) };
        let (cause, next) = member.slot.exited(exit, &self.roster);
        if cause != ExitCause::Clean {
            self.tell_exit(&key, cause);
        }
        self.follow(&key, next, ctx).await;
        Ok(())
    }

    async fn stop(&mut self, _ctx: &Context<Self>) {
        let roster = &self.roster;
        // All at once: their order does not matter, and the pool's own stop has a time-out.
        let ends = self.members.values_mut().map(|member| member.slot.end(roster));
        futures_util::future::join_all(ends).await;
        for member in std::mem::take(&mut self.members).into_values() {
            self.roster.forget(member.slot.address());
        }
    }
}

impl<K: PoolKey, B: Behaviour> Pool<K, B> {
    async fn route(&mut self, key: K, message: B::Msg, ctx: &Context<Self>) {
        if !self.members.contains_key(&key) {
            if !self.make_room(ctx).await {
                self.roster.rejected(B::KIND);
                tracing::warn!(%key, "pool {} is full, message dropped", ctx.vitals().id());
                return;
            }
            self.admit(&key, ctx).await;
        }
        let bound = self.args.settings.mailbox_bound;
        let Some(member) = self.members.get_mut(&key) else { return };
        if matches!(member.slot.stage(), Stage::Stopping { .. }) {
            if member.held.len() < bound {
                member.held.push_back(message);
                member.slot.follow_up(true);
            } else {
                member.slot.vitals().reject();
            }
            return;
        }
        if member.slot.is_forgiven() {
            let next = member.slot.restart();
            self.follow(&key, next, ctx).await;
        }
        if let Some(member) = self.members.get(&key) {
            // A refusal is counted by the mailbox; the message's drop guard does the rest.
            let _ = member.mailbox.cast(message);
        }
    }

    async fn admit(&mut self, key: &K, ctx: &Context<Self>) {
        let id = ctx.vitals().id().child(key);
        let settings = &self.args.settings;
        let mailbox = Mailbox::new::<B>(id, settings.mailbox_bound, &self.roster);
        let (factory, of) = (self.args.factory.clone(), key.clone());
        let seat = TypedSeat::<B>::seat(&mailbox, move || factory(&of));
        let (policy, timeout) = (settings.policy.clone(), settings.stop_timeout);
        let slot = Slot::new(seat, Lifetime::Transient, policy, timeout);
        let (myself, of) = (ctx.myself().clone(), key.clone());
        slot.address().on_restart(Arc::new(move || {
            myself.cast(PoolMsg::Restart { key: of.clone() }).is_ok()
        }));
        self.members.insert(key.clone(), Member { slot, mailbox, held: VecDeque::new() });
        self.follow(key, Next::Start, ctx).await;
    }

    /// Whether one more child may live; stops the longest idle ones if need be.
    async fn make_room(&mut self, ctx: &Context<Self>) -> bool {
        let max_live = self.args.settings.max_live;
        // A child that stops on its own soon does not count, a backlog of stops does.
        if self.running.len() < max_live {
            return true;
        }
        let live = self.members.values().filter(|member| member.slot.is_live()).count();
        if live < max_live {
            return true;
        }
        let idle = self.members.iter().filter_map(|(key, member)| {
            let idle = member.slot.is_live().then(|| member.slot.vitals().idle_for())?;
            idle.map(|idle| (idle, key.clone()))
        });
        let mut idle: Vec<_> = idle.collect();
        // A few at once: looking at thousands for each newcomer would cost more than the newcomer.
        let few = (max_live / EVICTED_AT_ONCE).max(1);
        if idle.len() > few {
            idle.select_nth_unstable_by(few - 1, |(one, _), (other, _)| other.cmp(one));
            idle.truncate(few);
        }
        for (_, key) in &idle {
            self.stop_member(key, true, ctx).await;
        }
        !idle.is_empty()
    }

    async fn passivate(&mut self, ctx: &Context<Self>) {
        let idle_after = self.args.settings.idle_after;
        let over = |member: &Member<B::Msg>| {
            let slot = &member.slot;
            slot.is_forgiven()
                || (slot.is_live()
                    && slot.vitals().idle_for().is_some_and(|idle| idle > idle_after))
        };
        let keys: Vec<K> =
            self.members.iter().filter(|(_, m)| over(m)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.stop_member(&key, true, ctx).await;
        }
    }

    async fn stop_member(&mut self, key: &K, drain: bool, ctx: &Context<Self>) {
        let Some(member) = self.members.get_mut(key) else { return };
        let next = match member.slot.stage() {
            Stage::Live(_) => member.slot.stop(false, drain),
            Stage::Stopping { .. } => Next::Nothing,
            Stage::Down | Stage::Backoff | Stage::Failed { .. } | Stage::Ended => {
                member.slot.finish()
            }
        };
        self.follow(key, next, ctx).await;
    }

    async fn follow(&mut self, key: &K, mut next: Next, ctx: &Context<Self>) {
        let Some(member) = self.members.get_mut(key) else { return };
        if next == Next::Start {
            match member.slot.start(ctx.cell(), &self.roster).await {
                Ok(_ready) => {
                    if let Some(cell) = member.slot.cell() {
                        self.running.insert(cell.get_id(), key.clone());
                    }
                    for message in std::mem::take(&mut member.held) {
                        let _ = member.mailbox.cast(message);
                    }
                    next = Next::Nothing;
                }
                Err(failed) => next = failed,
            }
        }
        match next {
            Next::Wait(delay) => {
                // Empty before a stop; after a failed start, dropped like all that came in vain.
                member.held.clear();
                let due = PoolMsg::Tick(Tick(Some(key.clone())));
                member.slot.timer = Some(ctx.send_after(delay, due));
            }
            Next::Ended => {
                if let Some(member) = self.members.remove(key) {
                    self.roster.forget(member.slot.address());
                }
            }
            Next::Start | Next::Nothing | Next::GaveUp(_) => {}
        }
        self.show(ctx);
    }

    /// A hook that panics is logged; the pool owns children that must not end for it.
    fn tell_exit(&self, key: &K, cause: ExitCause) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| (self.args.on_exit)(key, cause)));
        if let Err(payload) = told {
            tracing::error!(%key, "exit hook panicked: {}", super::panic_text(payload));
        }
    }

    fn show(&self, ctx: &Context<Self>) {
        ctx.set_details(Details {
            running: self.running.len(),
            members: self.members.len(),
            max_live: self.args.settings.max_live,
        });
    }
}

impl<K: PoolKey, B: Behaviour> Drop for Pool<K, B> {
    /// After a graceful stop nobody is left here. After a failure of the pool ractor kills the
    /// children, and what they held is released now.
    fn drop(&mut self) {
        for (key, mut member) in std::mem::take(&mut self.members) {
            if member.slot.cell().is_some() {
                self.tell_exit(&key, ExitCause::Killed);
            }
            member.slot.finish();
            self.roster.forget(member.slot.address());
        }
    }
}
