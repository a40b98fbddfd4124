//! One element as a tree that borrows from its bytes.
//!
//! serde_json's `Value` costs an allocation per key and string; most of these strings are only
//! looked at and written out again. The canonical text that this tree writes is byte for byte the
//! one that the domain's canonical form gives (a test holds the two side by side).

use std::borrow::Cow;
use std::fmt::{self, Write};
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

    /// Writes the canonical text: keys sorted, no blanks.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(value) => integer(value, out),
            Self::Uint(value) => integer(value, out),
            Self::Float(value) => as_serde_json(value, out),
            Self::Text(text) => string(text, out),
            Self::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                write_members(members.iter().map(|(key, value)| (key.as_ref(), value)), out);
            }
        }
    }
}

/// Writes an object of these members, which come sorted.
pub(super) fn write_members<'m, 'a: 'm>(
    members: impl Iterator<Item = (&'m str, &'m Json<'a>)>,
    out: &mut String,
) {
    out.push('{');
    for (place, (key, value)) in members.enumerate() {
        if place > 0 {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

fn integer(value: &impl fmt::Display, out: &mut String) {
    // Writing into a String does not fail.
    let _ = write!(out, "{value}");
}

/// As serde_json's own values are written: the shortest float, the fewest escapes.
fn as_serde_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut String) {
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

fn string(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        as_serde_json(text, out);
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
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
        Ok(Json::Text(Cow::Owned(without_nul(text))))
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
        Ok(Key(Cow::Owned(without_nul(text))))
    }
}

/// Postgres stores no NUL, neither in text nor in jsonb. It can only come escaped, and escaped
/// strings are never borrowed.
fn without_nul(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').collect()
}
