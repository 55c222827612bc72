use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Whether `text` is a valid name of a plugin or metric: `[A-Za-z_][A-Za-z0-9_]*`. Length is
/// checked apart, because its limit differs by use.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The valid name closest to `text`: every other character becomes `_`, and a leading digit gets
/// one before it. Used for hints and for plugins named after their file.
pub fn nearest_name(text: &str) -> String {
    let mut name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        name.insert(0, '_');
    }
    name
}

/// A plugin's name on its host: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

/// Why a text is not a plugin name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a plugin name: use letters, digits and `_`, not starting with a digit, at most 128 bytes; for example `{nearest}`"
)]
pub struct InvalidName {
    given: String,
    nearest: String,
}

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of a valid name as fits.
    pub(super) fn cut(name: &str) -> Self {
        Self(Arc::from(&name[..name.floor_char_boundary(super::limits::NAME)]))
    }
}

impl FromStr for PluginName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_name(text) && text.len() <= super::limits::NAME {
            Ok(Self(Arc::from(text)))
        } else {
            let mut nearest = nearest_name(text);
            nearest.truncate(super::limits::NAME);
            Err(InvalidName { given: text.to_owned(), nearest })
        }
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for PluginName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PluginName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $new:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh identifier.
            #[expect(clippy::new_without_default, reason = "a default that differs each time misleads")]
            pub fn new() -> Self {
                Self(Uuid::$new())
            }

            /// The identifier as a UUID.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

    };
}

macro_rules! uuid_from_str {
    ($($name:ident)*) => {$(
        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

uuid_from_str! { RunId AgentId SpoolId }

uuid_id! {
    /// One run of one plugin; ordered by time (UUID version 7).
    RunId, now_v7
}
uuid_id! {
    /// One installed agent: kept in its data folder, given to its plugins as `TALAIA_AGENT`.
    AgentId, new_v4
}
uuid_id! {
    /// One life of one spool. A cloned or restored spool takes a new one.
    SpoolId, new_v4
}
uuid_id! {
    /// What a hub gave a registered plugin: a UUID. Read in either case, written in lower case.
    PluginKey, new_v4
}

/// Why a text is not a plugin's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// As it comes from a page that broke the line.
    #[error("a plugin key has no white space in it: take it out, also between the parts")]
    WhiteSpace,
    /// Anything else.
    #[error(
        "a plugin key is the UUID that the hub gave when the plugin was registered: 32 hexadecimal digits, as in 904605aa-e577-4f66-8d2c-3d1f6a2b9c70"
    )]
    NoUuid,
}

impl FromStr for PluginKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if text.contains(char::is_whitespace) {
            return Err(InvalidKey::WhiteSpace);
        }
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidKey::NoUuid)
    }
}

/// A report's place in the spool: rises by at least one with each report, never reused within one
/// [`SpoolId`]. The first is 1; 0 stands for "before the first".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
