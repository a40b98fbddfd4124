//! `vz-sync token`: a token for development, as the dashboard would issue it.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{CliError, Context, Exit};
use crate::http::auth::{Minter, Role, unix_now};

const LONGEST: Duration = Duration::from_hours(24 * 7);

/// Mint an API token for development
///
/// Signs with VZ_SYNC_JWT_SECRET, so it is for development only: in production the
/// dashboard issues tokens. It refuses when the API listens beyond this machine.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// A team and the role in it: owner, manager or developer; may be repeated
    #[arg(long = "team", value_name = "ID=ROLE", value_parser = team_role, required = true)]
    teams: Vec<(i64, Role)>,
    /// Whom the token names
    #[arg(long, value_name = "NAME", default_value = "developer@localhost")]
    subject: String,
    /// How long it lives, such as 30m, 8h or 7d; at most 7d
    #[arg(long, value_name = "DURATION", default_value = "8h", value_parser = duration)]
    ttl: Duration,
    /// Mint even though the API listens beyond this machine
    #[arg(long)]
    force: bool,
}

/// Runs it.
pub fn run(args: &TokenArgs, context: &Context) -> Result<Exit, CliError> {
    let config = context.load(Vec::new())?.config;
    if !config.http.listen.ip().is_loopback() && !args.force {
        return Err(CliError::Usage(format!(
            "http.listen is {}, beyond this machine: tokens for a real deployment come from the \
             dashboard (--force mints one all the same)",
            config.http.listen
        )));
    }
    let minter = Minter::from_config(&config.auth).ok_or_else(|| {
        CliError::Usage(
            "VZ_SYNC_JWT_SECRET is unset: set the secret that the service runs with \
             (vz-sync keys generate --env makes one)"
                .into(),
        )
    })?;
    let now = unix_now();
    let token = minter
        .mint(&args.subject, &args.teams, now, args.ttl.as_secs())
        .context("the token could not be signed")?;
    context.output.result(
        &json!({ "token": token.expose_secret(), "expires_at": now + args.ttl.as_secs() }),
        token.expose_secret(),
    );
    Ok(Exit::Ok)
}

fn team_role(text: &str) -> Result<(i64, Role), String> {
    let (team, role) = text.split_once('=').ok_or("the form is ID=ROLE, such as 42=owner")?;
    let team: i64 = team.parse().map_err(|_| "the team id is not a whole number")?;
    if team < 1 {
        return Err("team ids start at 1".into());
    }
    Ok((team, role.parse::<Role>()?))
}

fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "the form is a number and s, m, h or d, such as 8h";
    let unit = text.chars().last().ok_or(FORM)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(FORM.into()),
    };
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| FORM)?;
    let duration = Duration::from_secs(count.saturating_mul(seconds));
    if duration.is_zero() || duration > LONGEST {
        return Err("a token lives from one second to 7d".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn teams_and_durations_are_read_strictly() {
        assert_eq!(team_role("42=owner"), Ok((42, Role::Owner)));
        for bad in ["42", "42=", "42=root", "=owner", "0=owner", "-1=owner", "x=owner"] {
            assert!(team_role(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(LONGEST));
        for bad in ["", "8", "h", "0h", "8d", "1w", "-1h", "99999999999999999999d", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
