//! A platform that follows a script: a world per team, behaviours for its
//! listings, and a log of who asked what and when.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::fixtures::{Environment, OWNER_UID, version_of};
use crate::domain::item::{Element, Item};
use crate::domain::{
    Baseline, Completeness, Counts, ExternalId, Failure, FailureClass, PartialReason, TeamId,
};
use crate::embedded::locked;
use crate::ports::credentials::Access;
use crate::ports::platform::{
    Account, ActionPage, ActionQuery, ActionTarget, ElementSink, Listing, Lookup, Outline,
    Outlines, Platform, PlatformResult,
};

/// Elements handed over at once.
const BATCH: usize = 64;

/// A platform for tests; everything may be changed while it is asked.
#[derive(Debug, Default)]
pub struct ScriptedPlatform {
    worlds: Mutex<HashMap<TeamId, World>>,
    calls: Mutex<Vec<Call>>,
}

/// What one team's account holds.
#[derive(Debug, Clone)]
pub struct World {
    /// The account behind the key.
    pub uid: i64,
    /// Its environments, in listing order.
    pub environments: Vec<Environment>,
    /// Its action history, oldest first.
    pub actions: Vec<Item>,
    /// What is under way.
    pub under_way: Vec<ActionTarget>,
    /// How long every answer takes.
    pub latency: Duration,
    /// What its answers say the time is.
    pub clock: Option<OffsetDateTime>,
    /// How the next answers of each method behave; past the end all is well.
    pub script: VecDeque<(Method, Behaviour)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            uid: OWNER_UID,
            environments: Vec::new(),
            actions: Vec::new(),
            under_way: Vec::new(),
            latency: Duration::ZERO,
            clock: None,
            script: VecDeque::new(),
        }
    }
}

/// A method of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `getuserinfo`
    Account,
    /// `getbasicenvsinfo`
    Environments,
    /// `getenvs?lazy=true`
    Outlines,
    /// `getenvinfo`
    Environment,
    /// `searchactions`
    Actions,
    /// `getcurrentactions`
    CurrentActions,
}

/// How one answer behaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// No usable answer.
    Fails(Failure),
    /// A listing that stops after so many elements and is partial.
    CutAfter(usize, PartialReason),
    /// A listing that stops after so many elements and claims to be complete.
    Forgets(usize),
    /// The world as it was when it was asked for, however long that took.
    AsAsked,
    /// A complete listing that shows nothing at all.
    Empty,
    /// No answer within any deadline.
    Hangs,
    /// The client itself is broken.
    Panics,
}

/// One request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// In whose name.
    pub team: TeamId,
    /// What was asked.
    pub method: Method,
    /// When it was sent.
    pub at: Instant,
}

impl ScriptedPlatform {
    /// A platform that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes a team's world, which begins empty and well.
    pub fn with_world<T>(&self, team: TeamId, change: impl FnOnce(&mut World) -> T) -> T {
        change(locked(&self.worlds).entry(team).or_default())
    }

    /// Lets the next answer of this method behave so.
    pub fn next(&self, team: TeamId, method: Method, behaviour: Behaviour) {
        self.with_world(team, |world| world.script.push_back((method, behaviour)));
    }

    /// Every request so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.calls).clone()
    }

    /// How often a team's name was used for a method.
    pub fn count(&self, team: TeamId, method: Method) -> usize {
        self.calls().iter().filter(|call| call.team == team && call.method == method).count()
    }

    /// Notes the call, waits out the latency, and answers the world as it is
    /// then, with the behaviour that the script holds for this answer.
    async fn ask(
        &self,
        access: &Access,
        method: Method,
    ) -> PlatformResult<(World, Option<Behaviour>, Instant)> {
        let sent_at = Instant::now();
        let team = access.team;
        locked(&self.calls).push(Call { team, method, at: sent_at });
        let (latency, behaviour) = self.with_world(team, |world| {
            let place = world.script.iter().position(|(wanted, _)| *wanted == method);
            let behaviour = place.and_then(|place| world.script.remove(place));
            (world.latency, behaviour.map(|(_, behaviour)| behaviour))
        });
        let asked = (behaviour == Some(Behaviour::AsAsked))
            .then(|| self.with_world(team, |world| world.clone()));
        tokio::time::sleep(latency).await;
        match behaviour {
            Some(Behaviour::Fails(failure)) => Err(failure),
            Some(Behaviour::Hangs) => std::future::pending().await,
            Some(Behaviour::Panics) => panic!("the client panicked, as scripted"),
            other => {
                let world = asked.unwrap_or_else(|| self.with_world(team, |world| world.clone()));
                Ok((world, other, sent_at))
            }
        }
    }
}

/// The failure of a refused key.
pub fn refused_key() -> Failure {
    Failure::new(FailureClass::Auth, "result_702", "the platform refused the key")
}

/// A failure that may pass.
pub fn unavailable() -> Failure {
    Failure::new(FailureClass::Retryable, "http_503", "the platform answered 503")
}

/// The elements that a behaviour lets through, and what that makes of the
/// listing.
fn listed(world: &World, behaviour: Option<Behaviour>) -> (Vec<Environment>, Completeness) {
    let mut all = world.environments.clone();
    match behaviour {
        Some(Behaviour::Empty) => (Vec::new(), Completeness::Complete),
        Some(Behaviour::Forgets(after)) => {
            all.truncate(after);
            (all, Completeness::Complete)
        }
        Some(Behaviour::CutAfter(count, reason)) => {
            all.truncate(count);
            (all, Completeness::Partial(reason))
        }
        _ => (all, Completeness::Complete),
    }
}

#[async_trait]
impl Platform for ScriptedPlatform {
    async fn account(&self, access: &Access) -> PlatformResult<Account> {
        let (world, _, _) = self.ask(access, Method::Account).await?;
        Ok(Account { uid: world.uid, enabled: true })
    }

    async fn environments(
        &self,
        access: &Access,
        _baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        let (world, behaviour, sent_at) = self.ask(access, Method::Environments).await?;
        let (environments, completeness) = listed(&world, behaviour);
        let mut counts = Counts { listed: environments.len() as u64, ..Counts::default() };
        for batch in environments.chunks(BATCH) {
            let elements = batch.iter().map(|environment| {
                if environment.owner_uid == world.uid {
                    Element::Environment(Box::new(environment.element()))
                } else {
                    counts.shared += 1;
                    Element::Shared { owner_uid: environment.owner_uid }
                }
            });
            let elements = elements.collect();
            sink.accept(elements).await?;
        }
        Ok(Listing { completeness, sent_at, counts, body: None })
    }

    async fn outlines(&self, access: &Access) -> PlatformResult<Outlines> {
        let (world, behaviour, sent_at) = self.ask(access, Method::Outlines).await?;
        let (environments, completeness) = listed(&world, behaviour);
        let (own, shared): (Vec<_>, Vec<_>) =
            environments.into_iter().partition(|env| env.owner_uid == world.uid);
        let outlines = own.iter().map(|environment| {
            let item = environment.item();
            Outline {
                id: item.id,
                env_name: environment.name.clone(),
                status: environment.status,
                version: item.outline_version.unwrap_or_else(|| version_of(&item.payload)),
            }
        });
        Ok(Outlines {
            completeness,
            sent_at,
            outlines: outlines.collect(),
            shared: shared.len() as u64,
        })
    }

    async fn environment(&self, access: &Access, env_name: &str) -> PlatformResult<Lookup> {
        let (world, _, sent_at) = self.ask(access, Method::Environment).await?;
        let found = world.environments.iter().find(|environment| environment.name == env_name);
        Ok(found.map_or(Lookup::Gone, |environment| {
            let element = if environment.owner_uid == world.uid {
                Element::Environment(Box::new(environment.element()))
            } else {
                Element::Shared { owner_uid: environment.owner_uid }
            };
            Lookup::Found { element, sent_at }
        }))
    }

    async fn actions(&self, access: &Access, query: &ActionQuery) -> PlatformResult<ActionPage> {
        let (world, _, sent_at) = self.ask(access, Method::Actions).await?;
        let within: Vec<Item> =
            world.actions.into_iter().filter(|item| told(item, query)).collect();
        let total = within.len() as u64;
        let page = within.into_iter().skip(query.start_row as usize).take(query.rows as usize);
        Ok(ActionPage {
            items: page.collect(),
            total,
            completeness: Completeness::Complete,
            sent_at,
            clock: world.clock,
            malformed: Vec::new(),
        })
    }

    async fn current_actions(&self, access: &Access) -> PlatformResult<Vec<ActionTarget>> {
        let (world, _, _) = self.ask(access, Method::CurrentActions).await?;
        Ok(world.under_way)
    }
}

/// Whether an action lies in the window and is of the kind that was asked for.
/// One without a time lies in every window.
fn told(item: &Item, query: &ActionQuery) -> bool {
    let crate::domain::Columns::JobLog(log) = &item.columns else { return false };
    let after = log.started_at.is_none_or(|at| at >= query.from);
    let before = log.started_at.zip(query.until).is_none_or(|(at, until)| at <= until);
    after && before && query.action.as_ref().is_none_or(|action| *action == log.action)
}

/// An environment as an action names it.
pub fn target(environment: &Environment) -> ActionTarget {
    ActionTarget {
        id: Some(ExternalId::from(environment.id.as_str())),
        env_name: Some(environment.name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::PlatformId;

    #[derive(Default)]
    struct Sink(Vec<Element>);

    #[async_trait]
    impl ElementSink for Sink {
        async fn accept(&mut self, batch: Vec<Element>) -> PlatformResult<()> {
            self.0.extend(batch);
            Ok(())
        }
    }

    fn access() -> Access {
        Access {
            platform: PlatformId(1),
            base_url: String::new(),
            team: TeamId(1),
            owner_uid: Some(OWNER_UID),
            session: SecretString::from("key".to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_its_script_and_logs_who_asked() {
        let platform = ScriptedPlatform::new();
        let team = TeamId(1);
        platform.with_world(team, |world| {
            world.environments = (1..=3).map(|n| Environment::new(n, 1)).collect();
            world.environments.push(Environment::new(4, 1).owned_by(1));
            world.latency = Duration::from_secs(3);
        });
        platform.next(team, Method::Environments, Behaviour::Fails(unavailable()));
        let cut = Behaviour::CutAfter(1, PartialReason::Truncated);
        platform.next(team, Method::Environments, cut);

        let (access, baseline) = (access(), Baseline::default());
        let start = Instant::now();
        let failed = platform.environments(&access, &baseline, &mut Sink::default()).await;
        assert_eq!(failed, Err(unavailable()));
        let partial = platform.environments(&access, &baseline, &mut Sink::default()).await;
        assert!(!partial.unwrap().completeness.is_complete());
        let mut sink = Sink::default();
        let whole = platform.environments(&access, &baseline, &mut sink).await.unwrap();
        assert!(whole.completeness.is_complete());
        assert_eq!((whole.counts.listed, whole.counts.shared, sink.0.len()), (4, 1, 4));
        assert_eq!(platform.environment(&access, "env-00099").await, Ok(Lookup::Gone));

        assert_eq!(platform.count(team, Method::Environments), 3);
        let times: Vec<_> = platform.calls().iter().map(|call| call.at - start).collect();
        assert_eq!(times, [0, 3, 6, 9].map(Duration::from_secs));
    }
}
