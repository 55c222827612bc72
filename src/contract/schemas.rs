//! The JSON Schemas of the project, as they are in `schemas/`.

/// One schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The word for it in `talaia schema print`.
    pub name: &'static str,
    /// What it describes.
    pub about: &'static str,
    /// The schema itself: JSON Schema 2020-12.
    pub text: &'static str,
}

const ALL: [Schema; 3] = [
    Schema {
        name: "document",
        about: "what a plugin prints: every form of the native documents",
        text: include_str!("../../schemas/document.v1.json"),
    },
    Schema {
        name: "report",
        about: "what one run came to: printed by `talaia test --json`, spooled and uploaded",
        text: include_str!("../../schemas/report.v1.json"),
    },
    Schema {
        name: "batch",
        about: "what an agent uploads to a hub",
        text: include_str!("../../schemas/batch.v1.json"),
    },
];

/// Every schema that this room embeds.
pub fn list() -> &'static [Schema] {
    &ALL
}

/// The schema called `name`; its file name and its name with the version do as well.
pub fn get(name: &str) -> Option<&'static Schema> {
    let name = name.strip_suffix(".json").unwrap_or(name);
    let name = name.strip_suffix(".v1").unwrap_or(name);
    ALL.iter().find(|s| s.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parsed(name: &str) -> Value {
        serde_json::from_str(get(name).unwrap().text).unwrap()
    }

    #[test]
    fn schemas_are_schemas_and_their_examples_pass() {
        for schema in list() {
            let text: Value = serde_json::from_str(schema.text).unwrap();
            assert!(
                text["title"].is_string() && text["description"].is_string(),
                "{}",
                schema.name
            );
            jsonschema::meta::validate(&text).unwrap();
            let validator = jsonschema::options().offline().build(&text).unwrap();
            let examples = text["examples"].as_array().unwrap();
            assert!(!examples.is_empty());
            for example in examples {
                validator.validate(example).unwrap_or_else(|e| panic!("{}: {e}", schema.name));
            }
        }
    }

    #[test]
    fn a_batch_holds_reports_as_the_report_schema_says() {
        let mut report = parsed("report");
        report.as_object_mut().unwrap().remove("$schema");
        assert_eq!(parsed("batch")["$defs"]["report"], report);
    }

    #[test]
    fn a_schema_answers_to_its_file_name() {
        assert_eq!(get("report.v1.json"), get("report"));
        assert_eq!(get("nothing"), None);
    }
}
