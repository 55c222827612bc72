//! Recorded cases of a package: with these settings it has printed this, and shall again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::MANIFEST;
use crate::model::{Metric, PackageName};

use super::contents::{Contents, PackageFile};

/// Most bytes of a case.
const LARGEST: usize = 256 << 10;

/// Whether this is a recorded case.
pub(super) fn is_case(path: &str) -> bool {
    path.strip_prefix("tests/")
        .and_then(|name| name.strip_suffix(".toml"))
        .is_some_and(|name| !name.contains('/'))
}

/// The recorded cases of a package.
pub fn case_files(contents: &Contents) -> impl Iterator<Item = &PackageFile> {
    contents.files().iter().filter(|file| is_case(&file.path))
}

/// The name of the package whose folder this is, where its manifest can be read.
pub fn name_of(folder: &Path) -> Option<PackageName> {
    #[derive(Deserialize)]
    struct Named {
        name: PackageName,
    }
    let text = std::fs::read_to_string(folder.join(MANIFEST)).ok()?;
    toml::from_str::<Named>(&text).ok().map(|named| named.name)
}

/// `tests/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The command; may be left out where there is only one.
    #[serde(default)]
    pub command: Option<String>,
    /// Settings for this run, over the package's defaults.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Environment variables for this run.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The exit code.
    #[serde(default)]
    pub exit: u8,
    /// The file with the records that are accepted: a JSON array, in any order.
    pub expect: String,
}

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It is not a case.
    #[error("this is not a recorded case: {0}")]
    Form(String),
    /// `expect` leads out of the package.
    #[error("`expect` names a JSON file of the package, such as `tests/one.json`")]
    Expect,
}

/// One record as it is expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: serde_json::Value,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Case {
    /// Reads a case.
    pub fn read(file: &PackageFile) -> Result<Self, CaseError> {
        if file.bytes.len() > LARGEST {
            return Err(CaseError::Form(format!("it has more than {} KiB", LARGEST >> 10)));
        }
        let text = std::str::from_utf8(&file.bytes).map_err(|e| CaseError::Form(e.to_string()))?;
        let mut case: Self = toml::from_str(text)
            .map_err(|e| CaseError::Form(e.to_string().trim().replace('\n', " ")))?;
        if !crate::config::is_inside(&case.expect) || case.expect.strip_suffix(".json").is_none() {
            return Err(CaseError::Expect);
        }
        case.expect = case.expect.trim_start_matches("./").to_owned();
        Ok(case)
    }

    /// The settings, with what names a file or folder below `tests/` made a path in `folder`.
    pub fn settings(&self, folder: &Path) -> serde_json::Map<String, serde_json::Value> {
        let place = |value: &mut serde_json::Value| {
            let Some(text) = value.as_str().filter(|text| text.starts_with("tests/")) else {
                return;
            };
            let path = folder.join(text);
            if path.exists() {
                *value = path.to_string_lossy().into_owned().into();
            }
        };
        let mut settings = self.config.clone();
        for value in settings.values_mut() {
            walk(value, &place);
        }
        settings
    }
}

fn walk(value: &mut serde_json::Value, change: &impl Fn(&mut serde_json::Value)) {
    change(value);
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

impl Expected {
    /// What of an accepted metric is compared: not its time.
    pub fn of(metric: &Metric) -> Self {
        Self {
            name: metric.name.to_string(),
            value: serde_json::to_value(&metric.value).unwrap_or_default(),
            kind: metric.kind.as_str().to_owned(),
            unit: metric.unit.as_ref().map(ToString::to_string),
            tags: metric.tags.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    /// Records in the order in which they are written down: by name, then by tags.
    pub fn sorted(metrics: &[Metric]) -> Vec<Self> {
        let mut records: Vec<Self> = metrics.iter().map(Self::of).collect();
        records.sort_by(|a, b| (&a.name, &a.tags).cmp(&(&b.name, &b.tags)));
        records
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::FileMode;
    use super::*;

    #[test]
    fn what_is_expected_is_named_as_the_package_names_it() {
        let file = |text: &str| PackageFile {
            path: "tests/a.toml".to_owned(),
            mode: FileMode::Plain,
            bytes: text.as_bytes().to_vec(),
        };
        let case = Case::read(&file("expect = './tests/a.json'")).unwrap();
        assert_eq!(case.expect, "tests/a.json");
        assert!(Case::read(&file("expect = '../a.json'")).is_err());
    }
}
