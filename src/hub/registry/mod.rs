//! The registry: packages of plugins that were handed in, looked at, and given out.
//!
//! Promises: nothing of an upload is ever run here; only what a reviewer approved is given out, and its
//! archive never changes afterwards; the index that is served is signed by the registry's key, and its
//! serial rises with every change. Does not know HTTP or pages ([`super::packages_api`] and
//! [`super::web`] do).
//!
//! Packages belong to the account that registered them. What is not approved is seen by that account
//! and by the reviewers, who are those of the hub's own account: an approval speaks to everybody's
//! agents. Archives lie in the database, so that a backup has them.

mod change;
mod check;
mod found;
mod read;
mod review;
mod signing;

use serde::{Deserialize, Serialize};

use crate::hub::plugin_keys::PluginKeyError;
use crate::model::{PackageName, Version};
use crate::package::{Category, IndexError, SignError};

pub(crate) use change::{Upload, is_given_out, register, submit, upload, withdraw};
pub(crate) use check::check;
pub(crate) use read::{
    Archive, Decided, Listing, PackageRow, VersionRow, archive, archives, decided, given_out, list,
    show, version, waiting,
};
pub(crate) use review::{Seen, approve, reject, take, trial};
pub(crate) use signing::{
    Registry, Rotating, Signed, ToSign, approval, index, registry, rotate, withdrawal,
};

/// Most packages of one account.
const PACKAGES: i64 = 1000;
/// Most versions of one package that are neither approved nor withdrawn.
const VERSIONS: i64 = 100;
/// Most bytes of all archives together, and of one account's.
const ARCHIVES: i64 = 1 << 30;
const OWN_ARCHIVES: i64 = 256 << 20;
/// Longest reason of a rejection, in bytes.
const REASON: usize = 4096;
/// What is left of a report whose archive is gone.
const NO_REPORT: &str = r#"{"summary":null,"findings":[],"files":[]}"#;
/// Longest description of a package, in characters; that of a manifest.
const DESCRIPTION: usize = 200;

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Uploaded.
    Draft,
    /// Waits for a reviewer.
    Submitted,
    /// A reviewer has it.
    InReview,
    /// It is given out.
    Approved,
    /// It was turned down, with a reason.
    Rejected,
    /// Its author, or a reviewer, took it back.
    Withdrawn,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Draft,
        Self::Submitted,
        Self::InReview,
        Self::Approved,
        Self::Rejected,
        Self::Withdrawn,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::InReview => "in-review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("the name `{0}` is taken by another account; choose another")]
    Taken(PackageName),
    #[error("there is no package `{0}`")]
    NoPackage(PackageName),
    #[error("there is no {name} {version}")]
    NoVersion { name: PackageName, version: Version },
    #[error(
        "the archive of {name} {version} is gone: it was withdrawn and had never been approved"
    )]
    Gone { name: PackageName, version: Version },
    #[error("the archive with the SHA-256 {sha256} is damaged: {first}")]
    Damaged { sha256: String, first: String },
    #[error("{name} {version} is {}, so it cannot be {wanted}", .state.as_str())]
    State { name: PackageName, version: Version, state: State, wanted: &'static str },
    #[error(
        "{name} {version} was uploaded anew meanwhile, with the SHA-256 {sha256}; look at that one"
    )]
    OtherArchive { name: PackageName, version: Version, sha256: String },
    #[error("{name} {version} has errors in its report: {first}; mend them and publish it again")]
    Errors { name: PackageName, version: Version, first: String },
    #[error(
        "the account has {PACKAGES} packages, the most it may; publish versions of those, or use another account"
    )]
    TooManyPackages,
    #[error(
        "{0} has {VERSIONS} versions that are not approved, the most it may; withdraw drafts and what was rejected"
    )]
    TooManyVersions(PackageName),
    #[error(
        "the account's archives would have more than {} MiB, the most it may; withdraw drafts and what was rejected",
        OWN_ARCHIVES >> 20
    )]
    OwnFull,
    #[error(
        "the hub keeps no more than {} MiB of archives; withdraw drafts and what was rejected",
        ARCHIVES >> 20
    )]
    Full,
    #[error(
        "reviewing and the registry's key are for the hub's own account, because what is approved is given to everybody's agents; use a key of that account"
    )]
    NotAReviewer,
    #[error("a description is one line of at most {DESCRIPTION} characters")]
    Description,
    #[error("`{given}` is no category; choose one of {}", words())]
    Category { given: String },
    #[error("the reason is empty, or longer than {REASON} bytes; say what the author is to do")]
    Reason,
    #[error("the registry has no key yet: the first approval makes it")]
    NoKey,
    #[error("the registry's key is kept offline ({0}); sign with it: --sign-with FILE")]
    Offline(String),
    #[error("the registry signs with a key of its own ({0}), not with that one")]
    OtherKey(String),
    #[error("the hub has the registry's key, and rotates it by itself: send `{{}}`")]
    ByHub,
    #[error("the registry has changed meanwhile; get the documents again and sign those")]
    Stale,
    #[error("what was signed is not what was to be signed: {0}")]
    NotThat(String),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the registry's key cannot be used: {0}")]
    Key(String),
    #[error(transparent)]
    PluginKey(#[from] PluginKeyError),
    #[error("the hub's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// What a package can be about.
fn words() -> String {
    Category::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
