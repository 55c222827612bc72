//! Plugins as things to make, check, hand on and install.
//!
//! Promises:
//!
//! - a new plugin from a template is right as it is;
//! - the same folder packs to the same bytes, and nothing leaves an archive but plain files below its
//!   own folder, within bounds ([`Contents`]);
//! - what is wrong with a package is said with file, line and what to do ([`Finding`]); looking
//!   executes nothing;
//! - a package is installed whole or not at all ([`Store`]), and only what a trusted key has signed
//!   counts as approved ([`Index`]).
//!
//! Deliberately does not know: HTTP, the hub, the running agent, terminals. It runs nothing.

mod archive;
mod case;
mod contents;
mod diff;
mod disk;
mod dropin;
mod finding;
mod inspect;
mod receipt;
mod registry;
mod secrets;
mod sign;
mod store;
mod sums;
mod template;

pub use archive::{ArchiveError, pack, unpack};
pub use case::{Case, CaseError, Expected, case_files, name_of};
pub use contents::{Contents, PackageFile, SUMS, bounds};
pub use diff::{Change, FileDiff, diff, diff_whole};
pub use disk::{make_folder, replace, sweep_beside};
pub use dropin::{DropInError, drop_in, versioned};
pub use finding::{Finding, Weight};
pub use inspect::{CommandSummary, FileSummary, Inspection, Summary, inspect};
pub use receipt::{FileRecord, Origin, Receipt};
pub use registry::{
    Approval, Index, IndexError, Listed, ListedVersion, Offer, Rotation, Trust, file_name,
};
pub use sign::{Envelope, PublicKey, SignError, SigningKey};
pub use store::{Store, StoreError, Unpacked, write_out};
pub use sums::sha256;
pub use template::{FileMode, Language, TemplateFile, UnknownLanguage, template};

// The hub speaks of packages through this room alone.
pub use crate::config::{Category, MANIFEST, Manifest, Reading};
