use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{PackageName, Timestamp, Version};

use super::contents::Contents;
use super::sign::Envelope;
use super::sums::sha256;
use super::template::FileMode;

/// Where a package came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Origin {
    /// A registry that vouches for it.
    Registry {
        /// The registry's address.
        url: String,
        /// The signed approval.
        statement: Envelope,
    },
    /// A folder or archive of this machine.
    Local {
        /// Its path then.
        path: String,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry { url, .. } => f.write_str(url),
            Self::Local { path } => f.write_str(path),
        }
    }
}

/// One installed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// SHA-256.
    pub sha256: String,
    /// Whether it may be executed.
    pub executable: bool,
}

/// What was installed: kept beside the version's folder, outside of the package's reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Where it came from.
    pub origin: Origin,
    /// SHA-256 of the archive; of a folder, of the archive that it packs to.
    pub sha256: String,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// The files.
    pub files: BTreeMap<String, FileRecord>,
}

impl Receipt {
    /// A receipt for these contents.
    pub fn new(
        (name, version): (PackageName, Version),
        origin: Origin,
        archive: &[u8],
        contents: &Contents,
        installed_at: Timestamp,
    ) -> Self {
        let files = contents.files().iter().map(|file| {
            let executable = file.mode == FileMode::Executable;
            (file.path.clone(), FileRecord { sha256: sha256(&file.bytes), executable })
        });
        let (sha256, files) = (sha256(archive), files.collect());
        Self { name, version, origin, sha256, installed_at, files }
    }
}
