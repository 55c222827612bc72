//! What a registry publishes: an index of approved packages, signed, and what is made of it.
//!
//! ```text
//! index.json                  an envelope: the index, signed by the registry's key
//! download/NAME-VERSION.zip   the archives
//! ```
//!
//! The index's `serial` rises with each change; whoever has seen one takes no older one. A new key is
//! introduced by the old one; the whole line of them is in the index, so that a client that slept
//! through several can follow.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{PackageName, Timestamp, Version};

use super::sign::{Envelope, PublicKey, SignError, SigningKey};
use super::sums::sha256;

/// The format of an index that this version writes and reads.
const FORMAT: u32 = 1;

/// The name of a version's archive. Names and versions may have hyphens: such a name is compared with
/// known ones, never taken apart.
pub fn file_name(name: &PackageName, version: &Version) -> String {
    format!("{name}-{version}.zip")
}

/// That this archive is this version of this package, and was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// When it was approved.
    pub approved_at: Timestamp,
}

/// That a registry goes on with another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The key from now on.
    pub new_key: PublicKey,
    /// When.
    pub at: Timestamp,
}

/// A package in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name.
    pub name: PackageName,
    /// What it measures.
    pub description: String,
    /// What it is about.
    pub category: String,
    /// Its approved versions, oldest first.
    pub versions: Vec<ListedVersion>,
}

/// A version in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedVersion {
    /// The version.
    pub version: Version,
    /// The signed [`Approval`].
    pub statement: Envelope,
}

/// All that a registry has approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    format: u32,
    /// Rises with each change.
    pub serial: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// How the registry came to its present key: signed [`Rotation`]s, oldest first.
    pub rotations: Vec<Envelope>,
    /// The packages, by name.
    pub packages: Vec<Listed>,
}

/// What is the same in an index of any format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What a client knows of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The key that it trusts.
    pub key: PublicKey,
    /// The serial of the newest index that it has seen.
    pub serial: u64,
}

/// What a registry says of one version, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What was approved.
    pub approval: Approval,
    /// The same, as it was signed.
    pub statement: Envelope,
}

/// Why an index, or what was fetched by it, is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is no index.
    #[error("this is not an index of packages: {0}")]
    Form(String),
    /// A signature does not hold.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It is of a later format.
    #[error("the index has format {0}; this version of talaia reads format {FORMAT}")]
    Format(u32),
    /// The registry has a key that nobody introduced.
    #[error(
        "the registry signs with the key {new}, and the trusted key {old} says nothing of it: this may be another registry, or somebody in its place"
    )]
    Stranger {
        /// The key that is trusted.
        old: PublicKey,
        /// The one that the index is signed by.
        new: PublicKey,
    },
    /// It is older than one that was seen before.
    #[error(
        "the index has the serial {got}, and {seen} was seen before: somebody shows an old one"
    )]
    Older {
        /// The newest seen.
        seen: u64,
        /// That of this one.
        got: u64,
    },
    /// A statement is about something else than it stands for.
    #[error("the statement for {name} {version} is about {about}")]
    Mixed {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// What the statement says.
        about: String,
    },
    /// There is no such package.
    #[error("the registry has no package `{0}`")]
    NoPackage(PackageName),
    /// There is no such version.
    #[error("the registry has no {name} {version}; it has {known}")]
    NoVersion {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// Those there are.
        known: String,
    },
    /// The archive is not the one that was approved.
    #[error(
        "the archive of {name} {version} is not the one that was approved: its SHA-256 is {got}, approved was {approved}"
    )]
    OtherArchive {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// What came.
        got: String,
        /// What was approved.
        approved: String,
    },
}

impl Index {
    /// An index of these packages.
    pub fn new(
        serial: u64,
        issued: Timestamp,
        rotations: Vec<Envelope>,
        packages: Vec<Listed>,
    ) -> Self {
        Self { format: FORMAT, serial, issued, rotations, packages }
    }

    /// With one version more, in its place.
    pub fn insert(&mut self, name: &PackageName, about: (&str, &str), version: ListedVersion) {
        let at = self.packages.partition_point(|package| package.name < *name);
        if self.packages.get(at).is_none_or(|package| package.name != *name) {
            let (description, category) = (about.0.to_owned(), about.1.to_owned());
            let listed = Listed { name: name.clone(), description, category, versions: Vec::new() };
            self.packages.insert(at, listed);
        }
        let versions = &mut self.packages[at].versions;
        let at = versions.partition_point(|listed| listed.version < version.version);
        versions.insert(at, version);
    }

    /// Signs it.
    pub fn seal(&self, key: &SigningKey) -> Result<Envelope, SignError> {
        Envelope::seal(self, key)
    }

    /// The envelope of an index, as it is served. Its key is not yet trusted.
    pub fn envelope(bytes: &[u8]) -> Result<Envelope, IndexError> {
        serde_json::from_slice(bytes).map_err(|e| IndexError::Form(e.to_string()))
    }

    /// Reads an index by what is trusted, and gives what is trusted from now on.
    pub fn open(envelope: &Envelope, trust: Trust) -> Result<(Self, Trust), IndexError> {
        // Of a later format there may be more in it than is known here.
        let Format { format } = envelope.open()?;
        if format != FORMAT {
            return Err(IndexError::Format(format));
        }
        let index: Self = envelope.open()?;
        let mut key = trust.key;
        for rotation in index.rotations.iter().filter(|_| envelope.key() != trust.key) {
            if rotation.key() == key {
                let next: Rotation = rotation.open()?;
                key = next.new_key;
            }
        }
        if key != envelope.key() {
            return Err(IndexError::Stranger { old: trust.key, new: envelope.key() });
        }
        if index.serial < trust.serial {
            return Err(IndexError::Older { seen: trust.serial, got: index.serial });
        }
        let trust = Trust { key, serial: index.serial };
        Ok((index, trust))
    }

    /// The keys whose statements count: the present one, and those that led to it.
    fn keys(&self, present: PublicKey) -> BTreeSet<PublicKey> {
        let mut keys = BTreeSet::from([present]);
        for rotation in self.rotations.iter().rev() {
            if let Ok(Rotation { new_key, .. }) = rotation.open()
                && keys.contains(&new_key)
            {
                keys.insert(rotation.key());
            }
        }
        keys
    }

    /// What the registry offers under `name`: this version, or the newest that is no pre-release.
    /// `key` is the one that this index was opened with.
    pub fn find(
        &self,
        name: &PackageName,
        version: Option<&Version>,
        key: PublicKey,
    ) -> Result<Offer, IndexError> {
        let package = self
            .packages
            .iter()
            .find(|package| package.name == *name)
            .ok_or_else(|| IndexError::NoPackage(name.clone()))?;
        let listed = match version {
            Some(version) => package.versions.iter().find(|listed| listed.version == *version),
            None => newest(&package.versions),
        };
        let listed = listed.ok_or_else(|| IndexError::NoVersion {
            name: name.clone(),
            version: version.cloned().unwrap_or_else(zero),
            known: known(&package.versions),
        })?;
        let keys = self.keys(key);
        if !keys.contains(&listed.statement.key()) {
            return Err(IndexError::Stranger { old: key, new: listed.statement.key() });
        }
        let approval: Approval = listed.statement.open()?;
        if approval.name != *name || approval.version != listed.version {
            return Err(IndexError::Mixed {
                name: name.clone(),
                version: listed.version.clone(),
                about: format!("{} {}", approval.name, approval.version),
            });
        }
        Ok(Offer { approval, statement: listed.statement.clone() })
    }
}

impl Offer {
    /// Whether an archive is the one that was approved.
    pub fn check(&self, archive: &[u8]) -> Result<(), IndexError> {
        let got = sha256(archive);
        if got == self.approval.sha256 {
            return Ok(());
        }
        Err(IndexError::OtherArchive {
            name: self.approval.name.clone(),
            version: self.approval.version.clone(),
            got,
            approved: self.approval.sha256.clone(),
        })
    }
}

/// The newest version; one before a release only where there is nothing else.
fn newest(versions: &[ListedVersion]) -> Option<&ListedVersion> {
    let releases = versions.iter().filter(|listed| !listed.version.is_pre_release());
    releases
        .max_by(|a, b| a.version.cmp(&b.version))
        .or_else(|| versions.iter().max_by(|a, b| a.version.cmp(&b.version)))
}

fn known(versions: &[ListedVersion]) -> String {
    if versions.is_empty() {
        return "none".to_owned();
    }
    let versions: Vec<String> = versions.iter().map(|listed| listed.version.to_string()).collect();
    versions.join(", ")
}

fn zero() -> Version {
    // Three numbers are a version.
    "0.0.0".parse().unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        Timestamp::from_millis(1_795_380_130_000).unwrap()
    }

    fn name() -> PackageName {
        "a-b".parse().unwrap()
    }

    fn listed(version: &str, key: &SigningKey) -> ListedVersion {
        let version: Version = version.parse().unwrap();
        let approval = Approval {
            name: name(),
            version: version.clone(),
            sha256: sha256(b"zip"),
            approved_at: time(),
        };
        ListedVersion { version, statement: Envelope::seal(&approval, key).unwrap() }
    }

    fn index(serial: u64, rotations: &[Envelope], versions: Vec<ListedVersion>) -> Index {
        let package = Listed {
            name: name(),
            description: "d".to_owned(),
            category: "other".to_owned(),
            versions,
        };
        Index::new(serial, time(), rotations.to_vec(), vec![package])
    }

    fn rotate(old: &SigningKey, new: &SigningKey) -> Envelope {
        Envelope::seal(&Rotation { new_key: new.public(), at: time() }, old).unwrap()
    }

    #[test]
    fn what_was_approved_is_found_and_nothing_else_is_taken() {
        let key = SigningKey::generate().unwrap();
        let trust = Trust { key: key.public(), serial: 3 };
        let versions = ["0.1.0", "0.10.0", "0.9.0", "1.0.0-rc.1"];
        let index = index(3, &[], versions.iter().map(|v| listed(v, &key)).collect());
        let (index, trust) = Index::open(&index.seal(&key).unwrap(), trust).unwrap();
        let newest = index.find(&name(), None, trust.key).unwrap();
        assert_eq!(newest.approval.version.to_string(), "0.10.0");
        assert_eq!(newest.check(b"zip"), Ok(()));
        assert!(matches!(newest.check(b"other"), Err(IndexError::OtherArchive { .. })));
        let rc = "1.0.0-rc.1".parse().unwrap();
        assert_eq!(index.find(&name(), Some(&rc), trust.key).unwrap().approval.version, rc);
        let none = index.find(&name(), Some(&"2".parse().unwrap()), trust.key).unwrap_err();
        assert!(none.to_string().contains("it has 0.1.0, 0.10.0, 0.9.0, 1.0.0-rc.1"), "{none}");
        let none = index.find(&"b".parse().unwrap(), None, trust.key).unwrap_err();
        assert_eq!(none, IndexError::NoPackage("b".parse().unwrap()));
    }

    #[test]
    fn old_indexes_and_strangers_are_refused() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let trust = Trust { key: key.public(), serial: 5 };
        let old = index(4, &[], Vec::new()).seal(&key).unwrap();
        assert_eq!(Index::open(&old, trust), Err(IndexError::Older { seen: 5, got: 4 }));
        let stranger = index(9, &[], Vec::new()).seal(&other).unwrap();
        assert!(matches!(Index::open(&stranger, trust), Err(IndexError::Stranger { .. })));
        // A rotation that the stranger signed itself introduces nobody.
        let forged = index(9, &[rotate(&other, &other)], Vec::new()).seal(&other).unwrap();
        assert!(matches!(Index::open(&forged, trust), Err(IndexError::Stranger { .. })));
        // A statement by a stranger in a good index.
        let mixed = index(9, &[], vec![listed("1.0.0", &other)]).seal(&key).unwrap();
        let (mixed, trust) = Index::open(&mixed, trust).unwrap();
        assert!(matches!(mixed.find(&name(), None, trust.key), Err(IndexError::Stranger { .. })));
        // A statement about another version.
        let mut wrong = listed("1.0.0", &key);
        wrong.version = "2.0.0".parse().unwrap();
        let wrong = index(9, &[], vec![wrong]);
        let found = wrong.find(&name(), None, key.public());
        assert!(matches!(found, Err(IndexError::Mixed { .. })), "{found:?}");
        // What is no index.
        assert!(matches!(Index::envelope(b"<html>"), Err(IndexError::Form(_))));
        let statement = listed("1.0.0", &key).statement;
        assert!(matches!(Index::open(&statement, trust), Err(IndexError::Sign(_))));
        // One of a later version, with what nobody here knows.
        let later = serde_json::json!({"format": 2, "more": true});
        let later = Envelope::seal(&later, &key).unwrap();
        assert_eq!(Index::open(&later, trust), Err(IndexError::Format(2)));
    }

    #[test]
    fn a_client_follows_its_registry_from_key_to_key() {
        let keys: Vec<SigningKey> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        let rotations = [rotate(&keys[0], &keys[1]), rotate(&keys[1], &keys[2])];
        let versions = vec![listed("0.1.0", &keys[0]), listed("0.2.0", &keys[2])];
        let sealed = index(7, &rotations, versions).seal(&keys[2]).unwrap();
        for first in &keys {
            let trust = Trust { key: first.public(), serial: 1 };
            let (index, trust) = Index::open(&sealed, trust).unwrap();
            assert_eq!(trust, Trust { key: keys[2].public(), serial: 7 });
            for version in ["0.1.0", "0.2.0"] {
                index.find(&name(), Some(&version.parse().unwrap()), trust.key).unwrap();
            }
        }
        // Back to a key that was left is no way.
        let back = index(8, &rotations, Vec::new()).seal(&keys[0]).unwrap();
        let trust = Trust { key: keys[2].public(), serial: 7 };
        assert!(matches!(Index::open(&back, trust), Err(IndexError::Stranger { .. })));
    }
}
