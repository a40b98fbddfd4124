//! Requests of people and readers: durable, coalesced, limited.

use std::time::Duration;

use time::OffsetDateTime;

use super::db::{Remembered, Request, Tables};
use crate::domain::{Class, JobId, Scope, ScopeKey, TeamId};
use crate::ports::store::{Requested, RequestedJob, Resting, SyncRequest};

/// How long an idempotency key binds.
const IDEMPOTENCY_WINDOW: Duration = Duration::from_hours(24);

impl Tables {
    pub fn request(&mut self, ask: &SyncRequest, now: OffsetDateTime) -> Requested {
        if self.team(ask.team).is_none() {
            return Requested::UnknownTeam;
        }
        if let Some(idempotency) = &ask.idempotency
            && let Some(earlier) = self.idempotency.get(&(ask.team, idempotency.key.clone()))
            && earlier.at + IDEMPOTENCY_WINDOW > now
        {
            return if earlier.body_hash == idempotency.body_hash {
                Requested::Accepted(earlier.answer.clone())
            } else {
                Requested::IdempotencyConflict
            };
        }
        if let Some(resting) = self.resting(ask.team) {
            return Requested::Resting(resting);
        }
        let scopes = match ask.class {
            Class::Demand => match self.wanting(ask, now) {
                Ok(scopes) => scopes,
                Err(resting) => return Requested::Resting(resting),
            },
            _ => ask.scopes.clone(),
        };
        let key = |scope: &Scope| ScopeKey::new(ask.team, *scope);
        let (resting, scopes): (Vec<_>, Vec<_>) =
            scopes.into_iter().partition(|scope| self.scope_resting(key(scope)).is_some());
        if scopes.is_empty()
            && let Some(why) = resting.first().and_then(|scope| self.scope_resting(key(scope)))
        {
            return Requested::Resting(why);
        }
        if ask.class == Class::Manual
            && let Some(per_minute) = ask.per_minute
            && let Err(retry_in) = self.take_trigger(ask.team, per_minute, now)
        {
            return Requested::TooMany { retry_in };
        }
        let answer: Vec<_> =
            scopes.into_iter().filter_map(|scope| self.request_scope(ask, scope, now)).collect();
        if let Some(idempotency) = &ask.idempotency {
            self.idempotency.insert(
                (ask.team, idempotency.key.clone()),
                Remembered { body_hash: idempotency.body_hash, answer: answer.clone(), at: now },
            );
        }
        Requested::Accepted(answer)
    }

    /// The scopes for which a demand was not taken a moment ago.
    fn wanting(&self, ask: &SyncRequest, now: OffsetDateTime) -> Result<Vec<Scope>, Resting> {
        let state = |scope: &Scope| self.states.get(&ScopeKey::new(ask.team, *scope));
        let open = |scope: &Scope| {
            state(scope).is_some_and(|state| self.circuit_open_until(state.platform, now).is_some())
        };
        if ask.scopes.iter().any(open) {
            return Err(Resting::CircuitOpen);
        }
        let wanting: Vec<_> = ask
            .scopes
            .iter()
            .copied()
            .filter(|scope| {
                let asked = state(scope).and_then(|state| state.demand_at);
                asked.is_none_or(|at| at + ask.demand_interval <= now)
            })
            .collect();
        if wanting.is_empty() { Err(Resting::RecentlyAsked) } else { Ok(wanting) }
    }

    /// One token of the team's bucket of manual triggers, which holds a
    /// minute's worth.
    fn take_trigger(
        &mut self,
        team: TeamId,
        per_minute: u32,
        now: OffsetDateTime,
    ) -> Result<(), Duration> {
        let Some(team) = self.teams.get_mut(&team) else { return Ok(()) };
        let (full, per_second) = (f64::from(per_minute), f64::from(per_minute) / 60.0);
        let tokens = team.trigger_tokens.map_or(full, |(left, at)| {
            (left + (now - at).as_seconds_f64().max(0.0) * per_second).min(full)
        });
        // A hair below one is one: the refill is computed in floating point.
        if tokens + 1e-9 < 1.0 {
            let missing = (1.0 - tokens) / per_second;
            return Err(Duration::try_from_secs_f64(missing).unwrap_or(Duration::from_mins(1)));
        }
        team.trigger_tokens = Some((tokens - 1.0, now));
        Ok(())
    }

    fn request_scope(
        &mut self,
        ask: &SyncRequest,
        scope: Scope,
        now: OffsetDateTime,
    ) -> Option<RequestedJob> {
        let key = ScopeKey::new(ask.team, scope);
        let running = self.running.contains_key(&key);
        let mut state = self.states.get_mut(&key)?;
        let class_before = state.class();
        match &mut state.request {
            // A run in flight may have asked the platform before this wish,
            // so the wish must be younger than the run to outlive it.
            Some(request) if running => request.at = now,
            Some(_) => {}
            None => {
                state.request = Some(Request {
                    at: now,
                    class: ask.class,
                    mode: None,
                    by: ask.requested_by.clone(),
                    environments: Vec::new(),
                    trace_parent: None,
                });
            }
        }
        if let Some(request) = &mut state.request {
            if ask.class >= request.class {
                request.class = ask.class;
                request.by.clone_from(&ask.requested_by);
            }
            request.mode = request.mode.max(ask.mode);
            if ask.trace_parent.is_some() {
                request.trace_parent.clone_from(&ask.trace_parent);
            }
            for name in &ask.environments {
                if !request.environments.contains(name) {
                    request.environments.push(name.clone());
                }
            }
        }
        match ask.class {
            Class::Manual => {
                if state.wait.is_some_and(|(_, reason)| reason.yields_to_people()) {
                    state.wait = None;
                }
            }
            _ => state.demand_at = Some(now),
        }
        if state.lease_at(now).is_none() && ask.class > class_before {
            // Dispatched already, but now it is worth a better place in the queue.
            state.dispatched_at = None;
        }
        drop(state);
        let (job_id, coalesced) = self.ensure_queued(key, ask.class, Some(&ask.requested_by), now);
        Some(RequestedJob { scope, job_id, position: self.position(job_id), coalesced })
    }

    /// Queued jobs that go before this one.
    fn position(&self, id: JobId) -> u64 {
        let place = |id: &JobId| {
            let job = self.jobs.get(id)?;
            let deadline = self.states.get(&job.key).map(super::db::State::due_at);
            Some((std::cmp::Reverse(job.class), deadline, *id))
        };
        let ours = place(&id);
        self.queued.values().filter(|other| place(other) < ours).count() as u64
    }
}
