//! Arguments of `vz-sync credentials`, and the reading of the key.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::CliError;

const LONGEST: u64 = 8 * 1024;

/// Set a team's platform credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Store the Owner's session key or access token, sealed
    ///
    /// The key is read from stdin or a file, never from an argument: arguments are seen
    /// by every process of the machine. It is checked with the platform before it is stored.
    Set(CredentialsSetArgs),
}

/// Arguments of `credentials set`.
#[derive(Debug, Args)]
pub struct CredentialsSetArgs {
    /// The team
    #[arg(value_name = "TEAM_ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub team_id: i64,
    /// File that holds the key [default: stdin]
    #[arg(long, value_name = "FILE")]
    pub session_file: Option<PathBuf>,
    /// Take a key of another account: archives the old mirror and starts anew
    #[arg(long)]
    pub replace_account: bool,
}

impl CredentialsSetArgs {
    /// The key from the file, or from `stdin`. Blanks around it are dropped.
    pub fn read_session(&self, stdin: impl Read) -> Result<SecretString, CliError> {
        match &self.session_file {
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("{} cannot be opened", path.display()))?;
                read_key(file)
            }
            None => read_key(stdin),
        }
    }
}

fn read_key(source: impl Read) -> Result<SecretString, CliError> {
    // Room for all of it from the start: a growing buffer would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    source.take(LONGEST + 1).read_to_string(&mut text).context("the key cannot be read")?;
    let key = text.trim();
    if key.is_empty() {
        return Err(CliError::Usage("the key is empty: write it to stdin or to the file".into()));
    }
    if text.len() as u64 > LONGEST {
        return Err(CliError::Usage(format!("the key is longer than {LONGEST} bytes")));
    }
    if key.contains(char::is_whitespace) || key.contains(char::is_control) {
        return Err(CliError::Usage("the key must be a single word".into()));
    }
    Ok(SecretString::from(key))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_key_is_one_word_of_reasonable_length() {
        assert_eq!(read_key(" abc123\n".as_bytes()).unwrap().expose_secret(), "abc123");
        for bad in ["", " \n", "two words", "a\nb"] {
            assert!(matches!(read_key(bad.as_bytes()), Err(CliError::Usage(_))), "{bad:?}");
        }
        assert!(read_key("x".repeat(9000).as_bytes()).is_err());
        assert!(read_key([0xff, 0xfe].as_slice()).is_err());
    }
}
