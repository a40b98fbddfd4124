//! The claims of a token, read strictly, and the identity they make.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Denied, Permission, Role};

/// A person whose token has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The `sub` claim.
    pub subject: String,
    /// The teams of the token, with the role in each.
    pub teams: HashMap<i64, Role>,
    /// When the token ends, in seconds of Unix time: a long-lived stream ends with it.
    pub expires_at: u64,
}

impl Identity {
    /// The role in the team, if any.
    pub fn role(&self, team_id: i64) -> Option<Role> {
        self.teams.get(&team_id).copied()
    }

    /// Whether the person may do this in the team.
    pub fn authorize(&self, team_id: i64, permission: Permission) -> Result<Role, Denied> {
        let role = self.role(team_id).ok_or(Denied::Stranger)?;
        if role.allows(permission) { Ok(role) } else { Err(Denied::Forbidden { role, permission }) }
    }
}

/// What of the payload becomes the identity; times, issuer and audience are the
/// library's business. Unknown claims are allowed, as the standard asks.
#[derive(serde::Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) exp: ExpiresAt,
    pub(super) teams: Teams,
}

/// `exp` as a whole number, or as the float that some issuers write.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum ExpiresAt {
    Whole(u64),
    Float(f64),
}

impl ExpiresAt {
    pub(super) fn seconds(&self) -> u64 {
        match *self {
            Self::Whole(seconds) => seconds,
            Self::Float(seconds) => seconds.max(0.0) as u64,
        }
    }
}

/// `{"42": "owner"}`. A repeated team, an odd spelling of a number or an unknown
/// role refuses the whole token: guessing at rights is how they get lost.
pub(super) struct Teams(pub(super) HashMap<i64, Role>);

impl<'de> Deserialize<'de> for Teams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TeamsVisitor;

        impl<'de> Visitor<'de> for TeamsVisitor {
            type Value = Teams;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of team id to role")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Teams, A::Error> {
                let mut teams = HashMap::new();
                while let Some((team, role)) = map.next_entry::<String, Role>()? {
                    let id = team_id(&team).ok_or_else(|| A::Error::custom("bad team id"))?;
                    if teams.insert(id, role).is_some() {
                        return Err(A::Error::custom("a team is named twice"));
                    }
                }
                Ok(Teams(teams))
            }
        }

        deserializer.deserialize_map(TeamsVisitor)
    }
}

/// A team id in its only spelling: no sign, no leading zero, no blank.
fn team_id(text: &str) -> Option<i64> {
    let id: i64 = text.parse().ok()?;
    (id > 0 && id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_weak_roles_are_told_apart() {
        let identity = Identity {
            subject: "ann".into(),
            teams: HashMap::from([(42, Role::Developer)]),
            expires_at: 0,
        };
        assert_eq!(identity.authorize(42, Permission::Read), Ok(Role::Developer));
        assert_eq!(identity.authorize(43, Permission::Read), Err(Denied::Stranger));
        let denied = identity.authorize(42, Permission::TeamManage).unwrap_err();
        assert_eq!((denied.reason(), Denied::Stranger.reason()), ("role", "stranger"));
    }
}
