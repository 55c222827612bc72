use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::config::Env;
use crate::model::PackageName;
use crate::package::{Language, template};

use super::args::NewArgs;
use super::exit::{Exit, Failure};
use super::print::{self, STRONG, paint};

/// Writes a plugin to start from into `./NAME/`.
pub(crate) fn run(args: &NewArgs) -> Result<Exit, Failure> {
    let name: PackageName = args.name.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    let language: Language = args.lang.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    let folder = Env::system().cwd.join(name.as_str());
    fs::create_dir(&folder).map_err(|e| {
        let text = match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("`{name}` exists already; choose another name or remove it")
            }
            _ => format!("cannot make the folder {}: {e}", folder.display()),
        };
        Failure::new(Exit::Disk, text)
    })?;
    let files = template(&name, language);
    for file in &files {
        let path = folder.join(&file.path);
        write(&path, &file.text, file.mode.bits()).map_err(|e| {
            Failure::new(Exit::Disk, format!("cannot write {}: {e}", path.display()))
        })?;
        print::talk(format!("wrote {name}/{}", file.path));
    }
    print::talk(format!(
        "\nTry it:   {}\nCheck it: {}\nRun it:   {}\nKeep it:  {}",
        paint(STRONG, format!("talaia test {name}/{name}")),
        paint(STRONG, format!("talaia plugin check ./{name}")),
        paint(STRONG, format!("talaia run ./{name} --every 5s")),
        paint(STRONG, format!("talaia plugin install ./{name}")),
    ));
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}
