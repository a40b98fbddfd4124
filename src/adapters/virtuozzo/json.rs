//! JSON as far as columns need it: a tree that borrows from its text, and the members of an
//! object or the items of a list as texts, without reading what is in them.
//!
//! Deliberately absent: writing. What is stored is the domain's canonical form.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value; objects are sorted by key, the last of equal keys won.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The bytes are no JSON, not UTF-8, or nested too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl<'a> Json<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        sonic_rs::from_slice(bytes).map_err(|_| Unreadable)
    }

    /// An object with no other members than the wanted ones, of a text whose keys are sorted;
    /// the rest is passed over unread. `wanted` is sorted, too.
    pub(super) fn sparse(text: &'a str, wanted: &[&str]) -> Result<Self, Unreadable> {
        let mut members = Vec::with_capacity(wanted.len());
        for member in sonic_rs::to_object_iter(text) {
            let (key, value) = member.map_err(|_| Unreadable)?;
            if wanted.binary_search(&&*key).is_ok() {
                // What was written by us holds no escapes that a raw value could not be read with.
                let Cow::Borrowed(raw) = value.as_raw_cow() else { return Err(Unreadable) };
                members.push((key, Self::parse(raw.as_bytes())?));
            }
        }
        Ok(Self::Object(members))
    }

    /// A member of an object; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        let Self::Object(members) = self else { return None };
        let place = members.binary_search_by(|(name, _)| name.as_ref().cmp(key)).ok()?;
        Some(&members[place].1).filter(|value| !matches!(value, Self::Null))
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Uint(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The members of an object, each value as its text; the last of equal keys wins.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Members<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, Unreadable> {
        sonic_rs::to_object_iter(text)
            .map(|member| member.map(|(key, value)| (key, value.as_raw_cow())))
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
            .map_err(|_| Unreadable)
    }

    /// The text of a member; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, text)| text.as_ref()).filter(|text| *text != "null")
    }

    /// A member that is itself read.
    pub(super) fn read(&self, key: &str) -> Option<Json<'_>> {
        Json::parse(self.get(key)?.as_bytes()).ok()
    }

    /// The object without these members.
    pub(super) fn without(&self, dropped: &[&str]) -> String {
        let mut text = String::from("{");
        for (key, value) in &self.0 {
            if dropped.contains(&key.as_ref()) {
                continue;
            }
            if text.len() > 1 {
                text.push(',');
            }
            // Writing a string into memory does not fail.
            text.push_str(&serde_json::to_string(key).unwrap_or_default());
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// The items of a list, each as its text.
pub(super) fn items(text: &str) -> Result<Vec<Cow<'_, str>>, Unreadable> {
    sonic_rs::to_array_iter(text)
        .map(|item| item.map(|item| item.as_raw_cow()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Unreadable)
}

/// Deepest nesting that is read, so that no answer can exhaust a stack.
const MAX_DEPTH: u8 = 128;

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Builder(MAX_DEPTH, PhantomData).deserialize(deserializer)
    }
}

/// Builds a value that may hold this many levels.
struct Builder<'a>(u8, PhantomData<&'a ()>);

impl<'a> Builder<'a> {
    fn below<E: Error>(&self) -> Result<impl Fn() -> Builder<'a> + use<'a, E>, E> {
        let left = self.0.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(move || Builder(left, PhantomData))
    }
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for Builder<'a> {
    type Value = Json<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Builder<'a> {
    type Value = Json<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'a>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'a>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'a>, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'a>, E> {
        Ok(i64::try_from(value).map_or(Json::Uint(value), Json::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'a>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'a>, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(below())? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'a>, A::Error> {
        let below = self.below()?;
        let mut members = Vec::with_capacity(16);
        while let Some(Key(key)) = access.next_key::<Key<'a>>()? {
            members.push((key, access.next_value_seed(below())?));
        }
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            // The later of two equal keys stands behind the earlier one and takes its place.
            members.dedup_by(|later, kept| {
                let equal = later.0 == kept.0;
                if equal {
                    std::mem::swap(&mut later.1, &mut kept.1);
                }
                equal
            });
        }
        Ok(Json::Object(members))
    }
}

/// A key; serde's `Cow` would never borrow.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyBuilder(PhantomData))
    }
}

struct KeyBuilder<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for KeyBuilder<'a> {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}
