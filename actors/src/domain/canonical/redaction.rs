//! Which fields never leave the adapter.

use std::borrow::Cow;
use std::collections::HashMap;

/// Fields to remove, as data. Names are matched without regard to case, `_`
/// and `-`, at any depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionRules {
    /// A field of this name goes, whatever it holds.
    names: Vec<String>,
    /// A field whose name contains this goes, unless it holds a boolean, a
    /// null or nothing: `isResetPassword: false` is no secret.
    fragments: Vec<String>,
    /// A field of the second name goes below a field of the first.
    below: Vec<(String, String)>,
    /// Longer strings are cut, in bytes.
    max_string: usize,
}

/// Secrets by name. `env` alone is not among them: it is the environment's own
/// outline, and a container's variables only below a manifest.
const SECRET_NAMES: [&str; 13] = [
    "pwd",
    "pass",
    "session",
    "sessionkey",
    "sessionid",
    "cookie",
    "authorization",
    "auth",
    "dockerenv",
    "envvars",
    "environmentvariables",
    "attributesjson",
    "sshkey",
];

/// Secrets by part of the name.
const SECRET_FRAGMENTS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "privatekey",
    "apikey",
    "accesskey",
];

/// Container variables, wherever a manifest hides.
const SECRET_BELOW: [(&str, &str); 2] = [("dockermanifest", "env"), ("manifest", "env")];

/// What changes from answer to answer without meaning anything.
const VOLATILE_NAMES: [&str; 3] = ["debug", "ruk", "requestid"];

/// What GetBasicEnvsInfo leaves out of GetEnvInfo's answer. Every reader drops
/// it, else a full and a delta would give one item two versions.
const BEYOND_PROJECTION: [&str; 5] =
    ["endpoints", "packages", "dockermanifest", "dockervolumes", "dockervolumesfrom"];

impl Default for RedactionRules {
    /// Secrets, volatile fields and what lies beyond the projection.
    fn default() -> Self {
        let names = SECRET_NAMES.iter().chain(&VOLATILE_NAMES).chain(&BEYOND_PROJECTION);
        Self {
            names: names.map(|name| (*name).to_owned()).collect(),
            fragments: SECRET_FRAGMENTS.iter().map(|name| (*name).to_owned()).collect(),
            below: SECRET_BELOW.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            max_string: 64 * 1024,
        }
    }
}

impl RedactionRules {
    /// Removes nothing; for texts that are canonical already, or of our own.
    pub fn none() -> Self {
        Self { names: Vec::new(), fragments: Vec::new(), below: Vec::new(), max_string: usize::MAX }
    }

    /// Also removes fields of this name.
    #[must_use]
    pub fn and_name(mut self, name: &str) -> Self {
        self.names.push(plain(name).into_owned());
        self
    }

    /// Cuts strings that are longer, in bytes.
    #[must_use]
    pub fn with_max_string(mut self, bytes: usize) -> Self {
        self.max_string = bytes;
        self
    }

    pub(super) const fn max_string(&self) -> usize {
        self.max_string
    }

    /// What the rules say of a field of this name.
    fn key_rule(&self, key: &str) -> KeyRule {
        let key = plain(key);
        let key = key.as_ref();
        let verdict = if self.names.iter().any(|name| name == key) {
            Verdict::Remove
        } else if self.fragments.iter().any(|part| key.contains(part.as_str())) {
            Verdict::RemoveUnlessFlag
        } else {
            Verdict::Keep
        };
        let mut rule = KeyRule { verdict, opens: 0, closes: 0 };
        for (bit, (above, name)) in self.below.iter().take(32).enumerate() {
            rule.opens |= u32::from(above == key) << bit;
            rule.closes |= u32::from(name == key) << bit;
        }
        rule
    }
}

/// Names remembered with what the rules say of them; a listing repeats some
/// dozens of names a hundred thousand times.
#[derive(Debug, Clone)]
pub(super) struct KeyRules {
    rules: RedactionRules,
    known: HashMap<Box<str>, KeyRule, foldhash::fast::RandomState>,
}

/// More names than any platform has: past it they are judged anew each time,
/// so that made-up names cannot fill the memory.
const MAX_KNOWN: usize = 4096;

impl KeyRules {
    pub(super) fn new(rules: RedactionRules) -> Self {
        Self { rules, known: HashMap::default() }
    }

    pub(super) const fn rules(&self) -> &RedactionRules {
        &self.rules
    }

    pub(super) fn of(&mut self, key: &str) -> KeyRule {
        if let Some(rule) = self.known.get(key) {
            return *rule;
        }
        let rule = self.rules.key_rule(key);
        if self.known.len() < MAX_KNOWN && key.len() <= 64 {
            self.known.insert(key.into(), rule);
        }
        rule
    }
}

/// What the rules say of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRule {
    pub verdict: Verdict,
    /// Rules that apply below a field of this name, as bits.
    pub opens: u32,
    /// Rules by which a field of this name goes where they apply.
    pub closes: u32,
}

/// What happens to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Remove,
    RemoveUnlessFlag,
}

/// The name without case and separators.
fn plain(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Cow::Borrowed(name);
    }
    let kept = name.chars().filter(|char| !matches!(char, '_' | '-' | ' ' | '.' | '\u{fffd}'));
    Cow::Owned(kept.flat_map(char::to_lowercase).collect())
}
