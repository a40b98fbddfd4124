//! One element's bytes to one domain element.
//!
//! Byte-equal elements are recognised by their keyed hash and not parsed. Others are parsed,
//! freed of what a mirror must not hold, put into canonical form and versioned. Wire names live
//! here and in `columns`, and go no further.
//!
//! Deliberately absent: any decision about rows. A wrong element becomes a [`Malformed`], and a
//! doubt about the listing is handed up beside it.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use vz_sync_actors::domain::baseline::Shortcuts;
use vz_sync_actors::domain::canonical::source_version;
use vz_sync_actors::domain::item::{Element, EnvironmentColumns, Malformed};
use vz_sync_actors::domain::{
    Baseline, Columns, DataType, EnvironmentElement, ExternalId, Item, PartialReason, RawVersion,
    SourceVersion,
};
use vz_sync_actors::ports::platform::Outline;

use super::columns::{self, Wrong};
use super::json::{Json, Members, items};
use super::rules::{self, Rules};

/// Part of every raw version: a change of what is read, dropped or how it is written must raise
/// it, so that nothing hides behind bytes that an older build understood differently.
pub(super) const CODEC_VERSION: u32 = 1;

/// Most bytes of a malformed element that are kept.
const RAW_CAP: usize = 4096;

/// The keyed hash of elements of one method.
#[derive(Clone)]
pub(super) struct RawHasher(Hmac<Sha256>);

impl RawHasher {
    /// `key` is the installation's.
    pub(super) fn new(key: &[u8]) -> Self {
        // An HMAC takes keys of any length.
        Self(Hmac::new_from_slice(key).expect("HMAC accepts every key length"))
    }

    /// The hash under a tag of method and codec; another tag never meets its versions.
    pub(super) fn tagged(&self, method: &str) -> Self {
        let mut mac = self.0.clone();
        mac.update(format!("{method}/{CODEC_VERSION}\n").as_bytes());
        Self(mac)
    }

    pub(super) fn version(&self, bytes: &[u8]) -> RawVersion {
        let mut mac = self.0.clone();
        mac.update(bytes);
        RawVersion(mac.finalize().into_bytes().into())
    }

    fn update(&mut self, version: &RawVersion) {
        self.0.update(&version.0);
    }

    fn finish(self) -> RawVersion {
        RawVersion(self.0.finalize().into_bytes().into())
    }
}

/// Reads the elements of one answer.
pub(super) struct Reader {
    owner: Option<i64>,
    hasher: RawHasher,
    known: Shortcuts,
    body: RawHasher,
    rules: Rules,
}

/// An element, and the doubt it casts on its listing.
pub(super) struct Seen {
    pub(super) element: Element,
    pub(super) doubt: Option<PartialReason>,
}

impl Seen {
    fn fine(element: Element) -> Self {
        Self { element, doubt: None }
    }

    fn malformed(malformed: Malformed) -> Self {
        let doubt = malformed.id.is_none().then_some(PartialReason::UnidentifiedElement);
        Self { element: Element::Malformed(malformed), doubt }
    }
}

/// Whose an environment is.
enum Owner {
    Own,
    Shared(i64),
}

impl Reader {
    /// `hasher` is tagged with the method. What is in doubt in the baseline is not recognised by
    /// its bytes: its rows have to be written again.
    pub(super) fn new(hasher: RawHasher, owner: Option<i64>, baseline: &Baseline) -> Self {
        let body = RawHasher(hasher.0.clone());
        Self { owner, hasher, known: baseline.shortcuts(), body, rules: Rules::default() }
    }

    /// The hash of all elements read, in their order. Two bodies with the same elements have the
    /// same one, whatever stands between them.
    pub(super) fn body(self) -> RawVersion {
        self.body.finish()
    }

    /// Reads one element of a listing.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Seen {
        let raw = self.hasher.version(bytes);
        self.body.update(&raw);
        if let Some(id) = self.known.get(&raw) {
            return Seen::fine(Element::Same(id.clone()));
        }
        let text = text(bytes);
        match environment(&text, self.owner, raw, &mut self.rules) {
            Ok(seen) => seen,
            Err(Wrong(error)) => Seen::malformed(malformed(&text, DataType::Environments, error)),
        }
    }
}

/// Reads one element of a lazy listing. `Ok((None, _))` is another owner's environment.
pub(super) fn outline(
    bytes: &[u8],
    owner: Option<i64>,
    rules: &mut Rules,
) -> Result<(Option<Outline>, Option<PartialReason>), PartialReason> {
    // An outline without name or status cannot be handed on, and left out it would look deleted.
    let unusable = |_: Wrong| PartialReason::UnidentifiedElement;
    let text = text(bytes);
    let members = Members::of(&text).map_err(|_| PartialReason::UnidentifiedElement)?;
    if own_result(&members).is_err() {
        return Err(PartialReason::ElementFailed);
    }
    let (owned, doubt) = ownership(&members, owner).map_err(unusable)?;
    if matches!(owned, Owner::Shared(_)) {
        return Ok((None, None));
    }
    let outer = Outer::read(&members, rules).map_err(unusable)?;
    let EnvironmentColumns { env_name, status, .. } = outer.columns;
    Ok((Some(Outline { id: outer.id, env_name, status, version: outer.outline }), doubt))
}

/// What is not UTF-8 is replaced, as the canonical form does with all that Postgres cannot store.
/// The lossy reading is several times slower, so it is kept for those who need it.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Refuses an element that failed on its own.
fn own_result(members: &Members<'_>) -> Result<(), Wrong> {
    match members.get("result") {
        None | Some("0" | "\"0\"") => Ok(()),
        Some(_) => Err(match members.read("result").and_then(|code| code.integer()) {
            Some(code) => Wrong(format!("the element's own result is {code}")),
            None => Wrong("result is not a number".to_owned()),
        }),
    }
}

fn ownership(
    members: &Members<'_>,
    owner: Option<i64>,
) -> Result<(Owner, Option<PartialReason>), Wrong> {
    let uid = members.get("env").and_then(|env| Members::of(env).ok()?.read("uid")?.integer());
    let uid = uid.ok_or_else(|| Wrong("env.uid is not a number".to_owned()))?;
    match owner {
        Some(owner) if owner != uid => Ok((Owner::Shared(uid), None)),
        // Before the key's account is known, nothing can be said of anyone's absence.
        None => Ok((Owner::Own, Some(PartialReason::AccountMismatch))),
        Some(_) => {
            let right = members.get("right").is_none_or(|right| right == "\"OWNER\"");
            Ok((Owner::Own, (!right).then_some(PartialReason::NotOwner)))
        }
    }
}

/// An environment without its nodes.
struct Outer {
    id: ExternalId,
    columns: EnvironmentColumns,
    payload: Box<str>,
    outline: SourceVersion,
}

impl Outer {
    fn read(members: &Members<'_>, rules: &mut Rules) -> Result<Self, Wrong> {
        let payload = rules.plain(&members.without(&rules::ENVELOPE_AND_NODES))?;
        let tree = parsed(&payload)?;
        let id = columns::appid(&tree)?;
        let columns = columns::environment(&tree)?;
        let outline = outline_version(&payload)?;
        Ok(Self { id, columns, payload, outline })
    }
}

/// An environment with its nodes.
fn environment(
    text: &str,
    owner: Option<i64>,
    raw: RawVersion,
    rules: &mut Rules,
) -> Result<Seen, Wrong> {
    let members =
        Members::of(text).map_err(|_| Wrong("the element is not an object".to_owned()))?;
    if let Err(Wrong(error)) = own_result(&members) {
        let malformed = malformed(text, DataType::Environments, error);
        let doubt = Some(PartialReason::ElementFailed);
        return Ok(Seen { element: Element::Malformed(malformed), doubt });
    }
    let (owned, doubt) = ownership(&members, owner)?;
    if let Owner::Shared(owner_uid) = owned {
        return Ok(Seen::fine(Element::Shared { owner_uid }));
    }
    let Outer { id, columns, payload, outline } = Outer::read(&members, rules)?;
    let (nodes, malformed_nodes) = nodes(&members, &id, &columns.env_name, rules);
    let unidentified = malformed_nodes.iter().any(|node| node.id.is_none());
    let doubt = doubt.or(unidentified.then_some(PartialReason::UnidentifiedElement));
    // What is doubtful must be looked at each time.
    let raw_version = (doubt.is_none() && malformed_nodes.is_empty()).then_some(raw);
    let environment = Item {
        id,
        source_version: source_version(&payload),
        payload,
        raw_version,
        outline_version: Some(outline),
        columns: Columns::Environment(Box::new(columns)),
    };
    let element = EnvironmentElement { environment, nodes, malformed_nodes };
    Ok(Seen { element: Element::Environment(Box::new(element)), doubt })
}

/// The nodes of an element; `None` when it does not speak of them.
fn nodes(
    members: &Members<'_>,
    environment: &ExternalId,
    env_name: &str,
    rules: &mut Rules,
) -> (Option<Vec<Item>>, Vec<Malformed>) {
    let Some(list) = members.get("nodes") else { return (None, Vec::new()) };
    let Ok(list) = items(list) else {
        let error = "nodes is not a list".to_owned();
        return (None, vec![malformed(list, DataType::Nodes, error)]);
    };
    let (mut good, mut bad) = (Vec::with_capacity(list.len()), Vec::new());
    for text in list {
        match node(&text, environment, env_name, rules) {
            Ok(item) => good.push(item),
            Err(Wrong(error)) => bad.push(malformed(&text, DataType::Nodes, error)),
        }
    }
    (Some(good), bad)
}

fn node(
    text: &str,
    environment: &ExternalId,
    env_name: &str,
    rules: &mut Rules,
) -> Result<Item, Wrong> {
    let payload = rules.node(text)?;
    let tree = columns::node_tree(&payload)?;
    let id = columns::identifier(&tree, "id")?;
    let columns = columns::node(&tree, environment, env_name)?;
    Ok(Item {
        id,
        source_version: source_version(&payload),
        payload,
        raw_version: None,
        outline_version: None,
        columns: Columns::Node(Box::new(columns)),
    })
}

/// The tree of a canonical text, whose parts borrow from it.
pub(super) fn parsed(canonical: &str) -> Result<Json<'_>, Wrong> {
    Json::parse(canonical.as_bytes()).map_err(|_| Wrong("the element cannot be parsed".to_owned()))
}

/// The version of `env` and `envGroups` in a canonical text. No groups and an absent key are the
/// same.
fn outline_version(canonical: &str) -> Result<SourceVersion, Wrong> {
    let members = Members::of(canonical).map_err(|_| Wrong("env is not an object".to_owned()))?;
    let mut hash = Sha256::new();
    let env = members.get("env").unwrap_or("{}");
    let groups = members.get("envGroups").unwrap_or("[]");
    for part in [r#"{"env":"#, env, r#","envGroups":"#, groups, "}"] {
        hash.update(part);
    }
    Ok(SourceVersion(hash.finalize().into()))
}

/// What is kept of an element that fails its schema: its identifier where that can be read, even
/// in a text that is otherwise unreadable, and its redacted text.
pub(super) fn malformed(text: &str, data_type: DataType, error: String) -> Malformed {
    let id = match data_type {
        DataType::Environments => {
            Members::of(text).ok().and_then(|outer| identifier(outer.get("env")?, "appid"))
        }
        DataType::Nodes | DataType::ArchivedSites | DataType::JobLogs => identifier(text, "id"),
    };
    Malformed { data_type, id, error, raw: rules::quarantined(text, data_type, RAW_CAP) }
}

fn identifier(text: &str, key: &str) -> Option<ExternalId> {
    let value = Members::of(text).ok()?.get(key)?.to_owned();
    columns::as_identifier(&Json::parse(value.as_bytes()).ok()?)
}

#[cfg(test)]
mod tests;
