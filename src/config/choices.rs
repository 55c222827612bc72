//! Settings that are one word of several.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::node::Node;
use super::read::{Found, Read, not_one_of, words};
use super::values::later_version;
use crate::model::{Format, FormatError};

words! {
    /// How uploads are compressed.
    pub Compression {
        /// Zstandard.
        Zstd = "zstd",
        /// gzip.
        Gzip = "gzip",
        /// Not at all.
        None = "none",
    }
}

words! {
    /// Where a new output begins.
    pub Start {
        /// With what comes from now on.
        Now = "now",
        /// With the oldest report still kept.
        Oldest = "oldest",
    }
}

words! {
    /// What a plugin finds on its standard input.
    pub Stdin {
        /// Its settings, as a file.
        Config = "config",
        /// Nothing.
        Null = "null",
        /// A pipe that stays open.
        Open = "open",
    }
}

words! {
    /// What happens to processes that a run leaves behind.
    pub Leftovers {
        /// They are killed and counted.
        Kill = "kill",
        /// They are left alone.
        Keep = "keep",
    }
}

impl Read for Format {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.text().map(str::parse) {
            Some(Ok(format)) => Some(format),
            Some(Err(FormatError::NotYet(later))) => {
                found.push(later_version(&format!("plugins of format `{later}`"), &node.place));
                None
            }
            Some(Err(FormatError::Unknown(_))) | None => {
                not_one_of(node, &Self::ALL.map(Self::as_str), found);
                None
            }
        }
    }
}

impl JsonSchema for Format {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Format".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Format",
            "description": "What the plugin prints: the native JSON. More formats come in later versions.",
            "enum": Self::ALL.map(Self::as_str)
        })
    }
}
