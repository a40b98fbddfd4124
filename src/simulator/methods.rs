//! The platform's methods: who may call them and what they answer.
//!
//! Choices that no public source settles:
//! - an unknown or absent session answers 3 `invalid parameter [session]`, as recorded in 2011; an
//!   expired one answers 702 with `USER_NOT_AUTHENTICATED` in the text (the number behind that
//!   constant is not public, 702 is often named);
//! - a listing of an account that the caller has no share in answers 8202;
//! - without `ownerUid` a listing shows the caller's own environments only;
//! - GetAction and GetServerUTCTime answer in `object`, as the documented ObjectResponse.

use serde_json::{Value, json};

use super::actions::Search;
use super::clock::{parse_wire_time, wire_time};
use super::listing::Listing;
use super::params::Params;
use super::render::{self, Form};
use super::world::{Key, TokenState, World};

/// A method of the platform that the simulator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Signin,
    Checksign,
    Signout,
    GetUserInfo,
    GetEnvs,
    GetBasicEnvsInfo,
    GetEnvInfo,
    SearchActions,
    GetCurrentActions,
    GetUidActions,
    GetAction,
    GetServerUtcTime,
    GetCollaborations,
    GetMembers,
}

/// Each method with its namespace and service, and its name in a path.
const METHODS: [(Method, &str, &str); 14] = [
    (Method::Signin, "users/authentication", "signin"),
    (Method::Checksign, "users/authentication", "checksign"),
    (Method::Signout, "users/authentication", "signout"),
    (Method::GetUserInfo, "users/account", "getuserinfo"),
    (Method::GetEnvs, "environment/control", "getenvs"),
    (Method::GetBasicEnvsInfo, "environment/control", "getbasicenvsinfo"),
    (Method::GetEnvInfo, "environment/control", "getenvinfo"),
    (Method::SearchActions, "environment/tracking", "searchactions"),
    (Method::GetCurrentActions, "environment/tracking", "getcurrentactions"),
    (Method::GetUidActions, "environment/tracking", "getuidactions"),
    (Method::GetAction, "environment/tracking", "getaction"),
    (Method::GetServerUtcTime, "environment/tracking", "getserverutctime"),
    (Method::GetCollaborations, "users/collaboration", "getcollaborations"),
    (Method::GetMembers, "users/collaboration", "getmembers"),
];

impl Method {
    /// By the path behind `/1.0/`, which is all lower case.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let (service, name) = path.split_once("/rest/")?;
        let known = METHODS.iter().find(|(_, at, called)| *at == service && *called == name)?;
        Some(known.0)
    }

    /// As in the path: `getenvs`.
    pub(crate) fn name(self) -> &'static str {
        METHODS.iter().find(|(method, ..)| *method == self).map_or("", |(_, _, name)| name)
    }

    pub(crate) fn listing_form(self, params: &Params) -> Option<Form> {
        match self {
            Self::GetBasicEnvsInfo => Some(Form::Basic),
            Self::GetEnvs if params.flag("lazy") => Some(Form::Lazy),
            Self::GetEnvs => Some(Form::Full),
            _ => None,
        }
    }
}

/// What a method answers.
pub(crate) enum Answer {
    /// The environments of an account.
    Listing(Listing),
    /// Anything else.
    Json(Vec<u8>),
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self::Json(value.to_string().into_bytes())
    }
}

/// An answer that says no; HTTP 200 all the same.
pub(crate) fn failure(result: i64, error: &str) -> Value {
    json!({"result": result, "error": error, "source": "JEL"})
}

pub(crate) fn not_authenticated(session: &str) -> Value {
    let shown = session.chars().take(3).collect::<String>();
    failure(702, &format!("USER_NOT_AUTHENTICATED: session [{shown}xxx] has expired"))
}

pub(crate) fn not_allowed(method: Method) -> Value {
    failure(8202, &format!("permission denied for method [{}]", method.name()))
}

fn invalid(parameter: &str) -> Value {
    failure(3, &format!("invalid parameter [{parameter}]"))
}

/// One call, its key already looked up.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a World,
    pub(crate) method: Method,
    pub(crate) params: &'a Params,
    pub(crate) key: Option<Key>,
    /// By how many seconds the platform's clock is ahead.
    pub(crate) skew: i64,
}

impl Call<'_> {
    /// Answers the call. Renders a listing where it must.
    pub(crate) fn answer(&self) -> Answer {
        match self.method {
            Method::Signin => self.sign_in().into(),
            Method::GetServerUtcTime => {
                json!({"result": 0, "object": wire_time(self.world.now() + self.skew)}).into()
            }
            _ => match self.authorised() {
                Ok(caller) => self.answer_to(caller).unwrap_or_else(Answer::from),
                Err(refusal) => refusal.into(),
            },
        }
    }

    /// The account that the call is answered to.
    fn authorised(&self) -> Result<usize, Value> {
        let session = self.params.session().unwrap_or_default();
        let Some(key) = &self.key else { return Err(invalid("session")) };
        match &key.state {
            TokenState::Valid => Ok(key.account),
            TokenState::Expired => Err(not_authenticated(session)),
            TokenState::Restricted { methods } => {
                // Lists name a method as `environment.control.GetEnvs` or `env.control.GetEnvs`.
                let allowed = methods.iter().any(|entry| {
                    let name = entry.rsplit('.').next().unwrap_or(entry);
                    name.eq_ignore_ascii_case(self.method.name())
                });
                if allowed { Ok(key.account) } else { Err(not_allowed(self.method)) }
            }
        }
    }

    /// `Err` is an answer too: one that says no.
    fn answer_to(&self, caller: usize) -> Result<Answer, Value> {
        let account = self.world.account(caller);
        Ok(match self.method {
            Method::Signin | Method::GetServerUtcTime => Answer::from(json!({"result": 0})),
            Method::Checksign => json!({
                "result": 0, "uid": account.uid, "email": account.login, "accessType": "PERSONAL",
            })
            .into(),
            Method::Signout => {
                self.world.sign_out(self.params.session().unwrap_or_default());
                json!({"result": 0}).into()
            }
            Method::GetUserInfo => json!({
                "result": 0, "uid": account.uid, "email": account.login, "name": account.login,
                "status": "ENABLED",
            })
            .into(),
            Method::GetEnvs | Method::GetBasicEnvsInfo => {
                let form = self.method.listing_form(self.params).unwrap_or(Form::Basic);
                let (owner, percent) = self.owner(caller)?;
                Answer::Listing(if owner == caller {
                    self.world.listing(owner, form)
                } else {
                    self.world.shared_listing(owner, form, percent)
                })
            }
            Method::GetEnvInfo => self.env_info(caller)?,
            Method::SearchActions => self.search(caller)?,
            Method::GetCurrentActions => self.current_actions(caller),
            Method::GetUidActions => self.uid_actions(caller)?,
            Method::GetAction => self.action(caller)?,
            Method::GetCollaborations => self.collaborations(caller)?,
            Method::GetMembers => self.members(caller)?,
        })
    }

    /// The account that `ownerUid` names and the share of it that the caller sees.
    fn owner(&self, caller: usize) -> Result<(usize, u8), Value> {
        let asked = self.params.number("ownerUid").map_err(|()| invalid("ownerUid"))?;
        let Some(uid) = asked else { return Ok((caller, 100)) };
        let refused = || not_allowed(self.method);
        let owner = self.world.index(uid).map_err(|_| refused())?;
        let percent = self.world.visible_percent(owner, caller).ok_or_else(refused)?;
        Ok((owner, percent))
    }

    /// The own account's listing that this call will need, if it may be called at all.
    pub(crate) fn listing_ahead(&self) -> Option<(usize, Form)> {
        let form = self.method.listing_form(self.params)?;
        let caller = self.authorised().ok()?;
        let (owner, _) = self.owner(caller).ok()?;
        (owner == caller && self.world.ready_listing(owner, form).is_none())
            .then_some((owner, form))
    }

    fn sign_in(&self) -> Value {
        let (login, password) = (self.params.get("login"), self.params.get("password"));
        let opened = login.zip(password).and_then(|(login, pass)| self.world.sign_in(login, pass));
        let Some((index, session)) = opened else { return failure(701, "authentication failed") };
        let account = self.world.account(index);
        json!({
            "result": 0, "uid": account.uid, "session": session, "email": account.login,
            "name": account.login,
        })
    }

    fn env_info(&self, caller: usize) -> Result<Answer, Value> {
        let key = self.params.environment().ok_or_else(|| invalid("envName"))?;
        let gone = || failure(11, &format!("application [{key}] not exist"));
        let (environment, right) = self.world.find_for(caller, key).ok_or_else(gone)?;
        let form = if self.params.flag("lazy") { Form::Lazy } else { Form::Full };
        let mut body = Vec::with_capacity(8192);
        render::environment(&environment, form, right, self.world.wide, &mut body);
        Ok(Answer::Json(body))
    }

    fn search(&self, caller: usize) -> Result<Answer, Value> {
        let search = self.params.get("search").and_then(Search::parse);
        let search = search.ok_or_else(|| invalid("search"))?;
        let now = self.world.now();
        Ok(self.world.with_estate(caller, |estate| {
            let page = search.page(&estate.actions, now, self.skew);
            let array = page.actions.iter().map(|action| action.item(self.skew));
            let array = array.collect::<Vec<_>>();
            json!({"result": 0, "array": array, "totalCount": page.total}).into()
        }))
    }

    fn current_actions(&self, caller: usize) -> Answer {
        self.world.with_estate(caller, |estate| {
            let running = estate.actions.iter().filter(|action| action.ended_at.is_none());
            let array = running.map(|action| action.item(self.skew)).collect::<Vec<_>>();
            json!({"result": 0, "array": array}).into()
        })
    }

    fn uid_actions(&self, caller: usize) -> Result<Answer, Value> {
        let moment = |name| match self.params.get(name) {
            Some(text) => parse_wire_time(text).map(Some).ok_or_else(|| invalid(name)),
            None => Ok(None),
        };
        let from = moment("starttime")?.unwrap_or(i64::MIN);
        let until = moment("endtime")?.unwrap_or(i64::MAX);
        let count = self.params.number("count").map_err(|()| invalid("count"))?.unwrap_or(10);
        let now = self.world.now();
        Ok(self.world.with_estate(caller, |estate| {
            let found = estate.actions.iter().rev().filter(|action| {
                action.visible_at <= now
                    && (from..=until).contains(&(action.started_at + self.skew))
            });
            let found = found.take(usize::try_from(count).unwrap_or(0));
            let array = found.map(|action| action.item(self.skew)).collect::<Vec<_>>();
            json!({"result": 0, "array": array}).into()
        }))
    }

    fn action(&self, caller: usize) -> Result<Answer, Value> {
        let id = self.params.number("id").ok().flatten().ok_or_else(|| invalid("id"))?;
        self.world.with_estate(caller, |estate| {
            let found = estate.actions.iter().find(|action| action.id == id);
            let found = found.ok_or_else(|| failure(5, &format!("action [{id}] not found")))?;
            Ok(json!({"result": 0, "object": found.item(self.skew)}).into())
        })
    }

    fn collaborations(&self, caller: usize) -> Result<Answer, Value> {
        let (owner, _) = self.owner(caller)?;
        let account = self.world.account(owner);
        let caller_uid = self.world.account(caller).uid;
        let shares = account.shares.iter().enumerate();
        let seen = shares.filter(|(_, share)| owner == caller || share.member_uid == caller_uid);
        let collaborations = seen.map(|(place, share)| {
            json!({
                "id": place + 1, "ownerUid": account.uid, "memberUid": share.member_uid,
                "status": "ACTIVE",
            })
        });
        let collaborations = collaborations.collect::<Vec<_>>();
        let is_owner = owner == caller;
        Ok(json!({"result": 0, "isOwner": is_owner, "collaborations": collaborations}).into())
    }

    fn members(&self, caller: usize) -> Result<Answer, Value> {
        let (owner, _) = self.owner(caller)?;
        let members = self.world.account(owner).shares.iter().map(|share| {
            let index = self.world.index(share.member_uid).ok();
            let email = index.map(|index| self.world.account(index).login.as_str());
            json!({"uid": share.member_uid, "email": email, "status": "ACTIVE"})
        });
        Ok(json!({"result": 0, "array": members.collect::<Vec<_>>()}).into())
    }
}
