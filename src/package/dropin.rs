//! The file of the config that puts an installed package to use. It is the operator's: comments and
//! order are kept, and only the version is ever changed.

use toml_edit::{DocumentMut, Item, Value};

use crate::model::{PackageName, PluginKey, Version};

/// Why a drop-in cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum DropInError {
    /// It is not TOML.
    #[error("the file is not TOML: {0}")]
    Syntax(String),
    /// It does not name the package.
    #[error("there is no `[packages.{0}]` with a version in the file")]
    Absent(PackageName),
}

/// A new drop-in.
pub fn drop_in(name: &PackageName, version: &Version, key: Option<PluginKey>) -> String {
    let key = key.map_or_else(String::new, |key| format!("key = \"{key}\"\n"));
    format!(
        "# The package {name}. Upgrading changes the version here and nothing else; what you write stays.\n\
         [packages.{name}]\n\
         version = \"{version}\"\n\
         {key}\n\
         # [packages.{name}.config]        # its settings, over the package's own\n\
         # [packages.{name}.commands.NAME] # of one command: interval, timeout, user, enabled …\n"
    )
}

/// The same file with another version.
pub fn versioned(text: &str, name: &PackageName, version: &Version) -> Result<String, DropInError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| DropInError::Syntax(e.message().to_owned()))?;
    let own = document
        .get_mut("packages")
        .and_then(|packages| packages.get_mut(name.as_str()))
        .and_then(|package| package.get_mut("version"));
    let Some(Item::Value(old)) = own else { return Err(DropInError::Absent(name.clone())) };
    let mut new = Value::from(version.to_string());
    *new.decor_mut() = old.decor().clone();
    *old = new;
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_changes() {
        let name: PackageName = "a-b".parse().unwrap();
        let one: Version = "0.1.0".parse().unwrap();
        let two: Version = "0.2.0".parse().unwrap();
        let text = drop_in(&name, &one, None);
        assert_eq!(versioned(&text, &name, &two).unwrap(), text.replace("0.1.0", "0.2.0"));
        let own = "# mine\n[packages]\na-b = { version = '0.1.0', enabled = false } # keep\n";
        let changed = versioned(own, &name, &two).unwrap();
        assert_eq!(changed, own.replace("'0.1.0'", "\"0.2.0\""));
        assert!(versioned("[packages.b]\nversion = '1'", &name, &two).is_err());
        assert!(versioned("[", &name, &two).is_err());
    }
}
