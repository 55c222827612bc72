use std::path::Path;

use crate::model::{PackageName, Version};
use crate::package::{self, Contents, Inspection, file_name, inspect};

use super::super::exit::{Exit, Failure};
use super::super::print;
use super::lines;

/// A package's folder, read, looked at and found good.
pub(super) struct Packed {
    pub(super) name: PackageName,
    pub(super) version: Version,
    pub(super) archive: Vec<u8>,
    pub(super) contents: Contents,
    pub(super) inspection: Inspection,
}

/// Reads the files of a folder.
pub(super) fn read(folder: &Path) -> Result<Contents, Failure> {
    let contents = Contents::of_folder(folder).map_err(|e| {
        let text = format!("cannot read the folder {}: {e}", folder.display());
        Failure::new(Exit::Input, text)
    })?;
    contents.map_err(|findings| Failure::new(Exit::Finding, lines(&findings)))
}

/// Packs a folder, in memory.
pub(super) fn pack(folder: &Path) -> Result<Packed, Failure> {
    let contents = read(folder)?;
    let inspection = inspect(&contents, None);
    let summary = match &inspection.summary {
        Some(summary) if !inspection.has_errors() => summary,
        _ => return Err(Failure::new(Exit::Finding, lines(&inspection.findings))),
    };
    let (name, version) = (summary.name.clone(), summary.version.clone());
    let archive = package::pack(&name, &contents)
        .map_err(|error| Failure::from_error(Exit::Finding, &error))?;
    // As it comes out again: with the hashes of its files.
    let (_, contents) = package::unpack(&archive)
        .map_err(|findings| Failure::new(Exit::Internal, lines(&findings)))?;
    Ok(Packed { name, version, archive, contents, inspection })
}

pub(super) fn run(folder: &Path, output: Option<&Path>) -> Result<Exit, Failure> {
    let packed = pack(folder)?;
    let own = file_name(&packed.name, &packed.version);
    let path = output.unwrap_or(Path::new(&own));
    package::replace(path, &packed.archive, 0o644)
        .map_err(|e| Failure::new(Exit::Disk, format!("cannot write {}: {e}", path.display())))?;
    if !packed.inspection.findings.is_empty() {
        print::talk(lines(&packed.inspection.findings));
    }
    print::talk(format!(
        "{}: {}, {}",
        path.display(),
        print::count(packed.contents.files().len() as u64, "file"),
        print::bytes(packed.archive.len() as u64)
    ));
    // A reader that went away has seen enough.
    let _closed = print::data(format!("{}  {}", package::sha256(&packed.archive), path.display()));
    Ok(Exit::Ok)
}
