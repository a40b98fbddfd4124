//! One element's bytes to one domain element.
//!
//! Byte-equal elements are recognised by their keyed hash and not parsed. Others are parsed,
//! freed of what a mirror must not hold, put into canonical form and versioned. Wire names live
//! here and in `columns`, and go no further.
//!
//! Deliberately absent: any decision about rows. A wrong element becomes a [`Malformed`], and a
//! doubt about the listing is handed up beside it.

use std::collections::{HashMap, HashSet};

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use vz_sync_actors::domain::item::{Element, Malformed};
use vz_sync_actors::domain::{
    Baseline, Columns, DataType, EnvironmentElement, ExternalId, Item, PartialReason, RawVersion,
    SourceVersion,
};
use vz_sync_actors::ports::platform::Outline;

use super::columns::{self, Wrong};
use super::json::Json;
use super::redact;

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
pub(super) struct Reader<'b> {
    owner: Option<i64>,
    hasher: RawHasher,
    known: HashMap<RawVersion, &'b ExternalId>,
    body: RawHasher,
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

impl<'b> Reader<'b> {
    /// `hasher` is tagged with the method. Environments with any doubt, their own or a node's, are
    /// not recognised by their bytes: their rows have to be written again.
    pub(super) fn new(hasher: RawHasher, owner: Option<i64>, baseline: &'b Baseline) -> Self {
        let doubtful = baseline
            .nodes
            .values()
            .filter(|node| node.flags.any())
            .filter_map(|node| node.parent.as_ref())
            .collect::<HashSet<_>>();
        let known = baseline
            .environments
            .iter()
            .filter(|(id, row)| !row.flags.any() && !doubtful.contains(id))
            .filter_map(|(id, row)| Some((row.raw_version?, id)))
            .collect();
        let body = RawHasher(hasher.0.clone());
        Self { owner, hasher, known, body }
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
            return Seen::fine(Element::Same((*id).clone()));
        }
        let Ok(tree) = Json::parse(bytes) else { return Seen::malformed(salvage(bytes)) };
        match tree.get("result").map(Json::integer) {
            None | Some(Some(0)) => {}
            Some(code) => {
                let error = code.map_or_else(
                    || "result is not a number".to_owned(),
                    |code| format!("the element's own result is {code}"),
                );
                return Seen {
                    doubt: Some(PartialReason::ElementFailed),
                    ..Seen::malformed(malformed(&tree, DataType::Environments, error))
                };
            }
        }
        match environment(tree, self.owner, raw) {
            Ok(seen) => seen,
            Err((tree, Wrong(error))) => {
                Seen::malformed(malformed(&tree, DataType::Environments, error))
            }
        }
    }
}

/// Reads one element of a lazy listing. `Ok(None)` is another owner's environment.
pub(super) fn outline(
    bytes: &[u8],
    owner: Option<i64>,
) -> Result<(Option<Outline>, Option<PartialReason>), PartialReason> {
    let tree = Json::parse(bytes).map_err(|_| PartialReason::UnidentifiedElement)?;
    if !matches!(tree.get("result").map(Json::integer), None | Some(Some(0))) {
        return Err(PartialReason::ElementFailed);
    }
    let (owned, doubt) = ownership(&tree, owner).map_err(|_| PartialReason::UnidentifiedElement)?;
    if matches!(owned, Owner::Shared(_)) {
        return Ok((None, None));
    }
    // An outline without name or status cannot be handed on, and left out it would look deleted.
    let unusable = |_: Wrong| PartialReason::UnidentifiedElement;
    let id = columns::appid(&tree).map_err(unusable)?;
    let columns = columns::environment(&tree).map_err(unusable)?;
    let tree = redact::environment(tree);
    let mut text = String::with_capacity(1024);
    let env = tree.get("env").map_or(Json::Null, Clone::clone);
    env.write(&mut text);
    let version = outline_version(&text, &tree);
    let outline = Outline { id, env_name: columns.env_name, status: columns.status, version };
    Ok((Some(outline), doubt))
}

fn ownership(tree: &Json<'_>, owner: Option<i64>) -> Result<(Owner, Option<PartialReason>), Wrong> {
    let uid = columns::owner_uid(tree)?;
    match owner {
        Some(owner) if owner != uid => Ok((Owner::Shared(uid), None)),
        // Before the key's account is known, nothing can be said of anyone's absence.
        None => Ok((Owner::Own, Some(PartialReason::AccountMismatch))),
        Some(_) => {
            let right = tree.get("right").is_none_or(|right| right.text() == Some("OWNER"));
            Ok((Owner::Own, (!right).then_some(PartialReason::NotOwner)))
        }
    }
}

/// An environment with its nodes; gives the tree back when it fails its schema.
fn environment(
    tree: Json<'_>,
    owner: Option<i64>,
    raw: RawVersion,
) -> Result<Seen, (Json<'_>, Wrong)> {
    let read = |tree: &Json<'_>| {
        let (owned, doubt) = ownership(tree, owner)?;
        let id = columns::appid(tree)?;
        Ok((owned, doubt, id, columns::environment(tree)?))
    };
    let (owned, doubt, id, columns) = match read(&tree) {
        Ok(read) => read,
        Err(wrong) => return Err((tree, wrong)),
    };
    if let Owner::Shared(owner_uid) = owned {
        return Ok(Seen::fine(Element::Shared { owner_uid }));
    }
    let mut tree = redact::environment(tree);
    let nodes = take(&mut tree, "nodes");
    let mut malformed_nodes = Vec::new();
    let nodes = match nodes {
        None | Some(Json::Null) => None,
        Some(Json::List(nodes)) => {
            let mut items = Vec::with_capacity(nodes.len());
            for node in nodes {
                match self::node(&node, &id, &columns.env_name) {
                    Ok(item) => items.push(item),
                    Err(Wrong(error)) => {
                        malformed_nodes.push(malformed(&node, DataType::Nodes, error));
                    }
                }
            }
            Some(items)
        }
        Some(other) => {
            let error = "nodes is not a list".to_owned();
            malformed_nodes.push(malformed(&other, DataType::Nodes, error));
            None
        }
    };
    let unidentified = malformed_nodes.iter().any(|node| node.id.is_none());
    let doubt = doubt.or(unidentified.then_some(PartialReason::UnidentifiedElement));
    let (payload, outline_version) = environment_payload(&tree);
    let environment = Item {
        id,
        source_version: sha256(&payload),
        payload: payload.into_boxed_str(),
        // What is doubtful must be looked at each time.
        raw_version: (doubt.is_none() && malformed_nodes.is_empty()).then_some(raw),
        outline_version: Some(outline_version),
        columns: Columns::Environment(Box::new(columns)),
    };
    let element = EnvironmentElement { environment, nodes, malformed_nodes };
    Ok(Seen { element: Element::Environment(Box::new(element)), doubt })
}

fn node(node: &Json<'_>, environment: &ExternalId, env_name: &str) -> Result<Item, Wrong> {
    let id = columns::identifier(node, "id")?;
    let columns = columns::node(node, environment, env_name)?;
    let mut payload = String::with_capacity(2048);
    node.write(&mut payload);
    Ok(Item {
        id,
        source_version: sha256(&payload),
        payload: payload.into_boxed_str(),
        raw_version: None,
        outline_version: None,
        columns: Columns::Node(Box::new(columns)),
    })
}

/// The canonical text of an element whose nodes were taken out, and its outline's version.
fn environment_payload(tree: &Json<'_>) -> (String, SourceVersion) {
    let mut payload = String::with_capacity(2048);
    tree.write(&mut payload);
    let mut env = String::with_capacity(1024);
    if let Some(value) = tree.get("env") {
        value.write(&mut env);
    }
    let outline = outline_version(&env, tree);
    (payload, outline)
}

/// `env` comes as its canonical text. No groups and an absent key are the same.
fn outline_version(env: &str, tree: &Json<'_>) -> SourceVersion {
    let mut groups = String::new();
    match tree.get("envGroups") {
        Some(value) => value.write(&mut groups),
        None => groups.push_str("[]"),
    }
    let mut hash = Sha256::new();
    for part in [r#"{"env":"#, env, r#","envGroups":"#, &groups, "}"] {
        hash.update(part);
    }
    SourceVersion(hash.finalize().into())
}

/// sha256 of a canonical text.
pub(super) fn sha256(text: &str) -> SourceVersion {
    SourceVersion(Sha256::digest(text).into())
}

fn take<'a>(tree: &mut Json<'a>, key: &str) -> Option<Json<'a>> {
    let Json::Object(members) = tree else { return None };
    let place = members.iter().position(|(name, _)| name == key)?;
    Some(members.remove(place).1)
}

/// What is kept of an element that fails its schema: its identifier where that can be read, and
/// its redacted text.
pub(super) fn malformed(tree: &Json<'_>, data_type: DataType, error: String) -> Malformed {
    let id = match data_type {
        DataType::Environments => columns::appid(tree),
        DataType::Nodes | DataType::ArchivedSites | DataType::JobLogs => {
            columns::identifier(tree, "id")
        }
    };
    let mut raw = String::new();
    match data_type {
        DataType::Environments => redact::environment(tree.clone()),
        DataType::Nodes | DataType::ArchivedSites | DataType::JobLogs => redact::node(tree.clone()),
    }
    .write(&mut raw);
    raw.truncate(raw.floor_char_boundary(RAW_CAP));
    Malformed { data_type, id: id.ok(), error, raw }
}

/// What can be saved of an element that cannot be parsed: too deep, or not UTF-8. Its text is not
/// kept, since nothing can be removed from it.
fn salvage(bytes: &[u8]) -> Malformed {
    #[derive(Deserialize)]
    struct Envelope {
        env: Env,
    }
    #[derive(Deserialize)]
    struct Env {
        appid: String,
    }
    let text = String::from_utf8_lossy(bytes);
    let id = serde_json::from_str::<Envelope>(&text).ok().map(|found| found.env.appid);
    Malformed {
        data_type: DataType::Environments,
        id: id.filter(|id| columns::is_identifier(id)).map(ExternalId::from),
        error: format!("an element of {} bytes cannot be parsed", bytes.len()),
        raw: String::new(),
    }
}

#[cfg(test)]
mod tests;
