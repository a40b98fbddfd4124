//! Roles, and what each may do. Typed, so that a route cannot ask for a misspelt right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a person is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the platform account.
    Owner,
    /// Runs the team's environments.
    Manager,
    /// Looks.
    Developer,
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Reading the mirror, the jobs and the events.
    Read,
    /// `team.manage`: triggers, pause and resume, held removals.
    TeamManage,
    /// Setting and erasing the platform credentials.
    Credentials,
}

impl Role {
    /// Whether the role has the permission.
    pub const fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::Read => true,
            Permission::TeamManage => matches!(self, Self::Owner | Self::Manager),
            Permission::Credentials => matches!(self, Self::Owner),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Manager => "manager",
            Self::Developer => "developer",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "owner" => Ok(Self::Owner),
            "manager" => Ok(Self::Manager),
            "developer" => Ok(Self::Developer),
            _ => Err("a role is owner, manager or developer"),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "team.read",
            Self::TeamManage => "team.manage",
            Self::Credentials => "team.credentials",
        })
    }
}

/// A known person may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not a member of the team: answered with 404, so that nobody learns which teams exist.
    #[error("not a member of the team")]
    Stranger,
    /// A member whose role is not enough: answered with 403.
    #[error("the role {role} lacks {permission}")]
    Forbidden {
        /// The role of the token.
        role: Role,
        /// What the route asks for.
        permission: Permission,
    },
}

impl Denied {
    /// The label of `vz_sync_auth_violations_total`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Forbidden { .. } => "role",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_matrix() {
        use Permission::{Credentials, Read, TeamManage};
        let matrix = [
            (Role::Owner, [true, true, true]),
            (Role::Manager, [true, true, false]),
            (Role::Developer, [true, false, false]),
        ];
        for (role, expected) in matrix {
            assert_eq!([Read, TeamManage, Credentials].map(|p| role.allows(p)), expected, "{role}");
            assert_eq!(role.to_string().parse::<Role>(), Ok(role));
        }
    }
}
