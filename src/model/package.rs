use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{PluginName, nearest_name};

/// Longest name of a package, in bytes.
const LONGEST: usize = 64;

/// A package's name: `[a-z][a-z0-9_-]*`, at most 64 bytes. It is part of file names and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageName(String);

/// Why a text is not a package's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a package name: use small letters, digits, `-` and `_`, beginning with a letter, at most 64 bytes; for example `{nearest}`"
)]
pub struct InvalidPackageName {
    given: String,
    nearest: String,
}

impl PackageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plugin that a command of this package is: `host` and `cpu` make `host_cpu`, and a
    /// command that is named as the package is just that.
    pub fn plugin(&self, command: &str) -> PluginName {
        let (own, command) = (nearest_name(&self.0), nearest_name(command));
        let name = if own == command { own } else { format!("{own}_{command}") };
        // Both parts are short, and names by now.
        name.parse().unwrap_or_else(|_| PluginName::cut(&name))
    }
}

impl FromStr for PackageName {
    type Err = InvalidPackageName;

    fn from_str(text: &str) -> Result<Self, InvalidPackageName> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if begins && text.len() <= LONGEST && text.bytes().all(good) {
            return Ok(Self(text.to_owned()));
        }
        let small = text.to_lowercase();
        let mut nearest: String =
            small.chars().map(|c| if good_char(c) { c } else { '-' }).take(LONGEST).collect();
        if !nearest.starts_with(|c: char| c.is_ascii_lowercase()) {
            nearest.insert_str(0, "p-");
            nearest.truncate(LONGEST);
        }
        Err(InvalidPackageName { given: text.to_owned(), nearest })
    }
}

fn good_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A package's version: SemVer 2 without build metadata. `0.1` means `0.1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(semver::Version);

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a version: {why}; write three numbers such as `1.4.0`, or `1.4.0-rc.1`")]
pub struct InvalidVersion {
    given: String,
    why: String,
}

impl Version {
    /// Whether it is one that comes before a release, such as `1.0.0-rc.1`.
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let wrong =
            |why: &str| InvalidVersion { given: text.to_owned(), why: why.trim().to_owned() };
        if text.len() > LONGEST {
            return Err(wrong("it is longer than 64 bytes"));
        }
        // Only plain numbers are filled up: `1-rc` may mean many things.
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let full = match text.bytes().filter(|b| *b == b'.').count() {
            0 if plain => format!("{text}.0.0"),
            1 if plain => format!("{text}.0"),
            _ => text.to_owned(),
        };
        let version = semver::Version::parse(&full).map_err(|e| wrong(&e.to_string()))?;
        if !version.build.is_empty() {
            return Err(wrong("what follows a `+` does not tell versions apart"));
        }
        Ok(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
as_text!(PackageName, Version);

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_filled_up_and_ordered() {
        assert_eq!(version("0.1"), version("0.1.0"));
        assert_eq!(version("2").to_string(), "2.0.0");
        assert!(version("1.0.0-rc.1") < version("1.0.0"));
        assert!(version("1.10.0") > version("1.9.9"));
        for bad in ["", "v1", "1.0.0+a", "01.0.0", "1.0-rc", "../1", "1.0.0/..", "1..0"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_packages_make_names_of_plugins() {
        let package: PackageName = "http-check".parse().unwrap();
        assert_eq!(package.plugin("http-check").as_str(), "http_check");
        assert_eq!(package.plugin("http_check").as_str(), "http_check");
        assert_eq!(package.plugin("tls").as_str(), "http_check_tls");
        for bad in ["", "Host", "1a", "-a", "a.b", "a/b", "ñ", &"a".repeat(65)] {
            let error = bad.parse::<PackageName>().unwrap_err();
            assert!(error.nearest.parse::<PackageName>().is_ok(), "{error}");
        }
    }
}
