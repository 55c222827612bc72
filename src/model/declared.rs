use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{MetricType, Threshold};

/// One metric that a plugin declares. What is said here goes before what the plugin prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The type: `integer`, `float`, `percent`, `counter`, `boolean` or `string`. Never changes; a
    /// value that does not fit is refused.
    #[serde(rename = "type")]
    #[schemars(schema_with = "type_schema")]
    pub kind: MetricType,
    /// The unit, for example `B`, `s` or `%`; for a counter that of the count itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub unit: Option<String>,
    /// A readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub label: Option<String>,
    /// Whether every run should print it; a run without it gets a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Where it gets worrying: a number or a Nagios range such as `"10:20"`. Drawn and forwarded,
    /// never judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "threshold_schema")]
    pub warn: Option<Threshold>,
    /// Where it gets critical: a number or a Nagios range such as `"@~:5"`. Drawn and forwarded,
    /// never judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "threshold_schema")]
    pub crit: Option<Threshold>,
    /// The least possible value, for drawing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest possible value, for drawing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only texts that a metric of type `string` may have; any other is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Declared {
    /// A declaration of the type alone.
    pub fn of(kind: MetricType) -> Self {
        Self {
            kind,
            unit: None,
            label: None,
            required: false,
            warn: None,
            crit: None,
            min: None,
            max: None,
            values: Vec::new(),
        }
    }
}

fn type_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "enum": ["integer", "float", "percent", "counter", "boolean", "binary", "string"]
    })
}

fn threshold_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string"], "examples": [90, "10:20", "@~:5"] })
}

/// What a plugin declares, as its first report after a start or a change tells who receives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToldContract {
    /// The declared metrics by name.
    pub metrics: BTreeMap<String, Declared>,
    /// How many more there are that had no room here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
    /// Whether metrics that are not declared are refused.
    pub strict: bool,
    /// Whether what it prints is checked against a JSON Schema of its own as well.
    pub schema: bool,
    /// The fixed interval of its runs, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// The cron expression of its runs, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The longest time between two due runs by that expression, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<f64>,
    /// How long a run, or the answer to a tick, may take, in seconds.
    pub timeout: f64,
}

impl ToldContract {
    /// Most bytes of it as JSON.
    pub const BYTES: usize = 64 << 10;
    /// What of that the metrics may take.
    const METRICS: usize = Self::BYTES - 1024;

    /// Takes the metrics in the order of their names, and counts those that have no room.
    pub fn tell(&mut self, metrics: &BTreeMap<String, Declared>) {
        let mut room = Self::METRICS;
        for (name, declared) in metrics {
            let size =
                name.len() + 4 + serde_json::to_vec(declared).map_or(room, |json| json.len());
            match room.checked_sub(size) {
                Some(rest) if self.omitted == 0 => {
                    room = rest;
                    self.metrics.insert(name.clone(), declared.clone());
                }
                _ => self.omitted += 1,
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_contract_is_cut_to_what_fits_and_says_so() {
        let long = Declared { values: vec!["x".repeat(4000)], ..Declared::of(MetricType::String) };
        let metrics = (0..40).map(|nth| (format!("m{nth:02}"), long.clone())).collect();
        let mut told = ToldContract {
            metrics: BTreeMap::new(),
            omitted: 0,
            strict: true,
            schema: true,
            interval: Some(1.0 / 3.0),
            cron: Some("*".repeat(256)),
            pause: Some(1.0 / 3.0),
            timeout: 1.0 / 3.0,
        };
        told.tell(&metrics);
        let size = serde_json::to_vec(&told).unwrap().len();
        assert!((60_000..=ToldContract::BYTES).contains(&size), "{size}");
        assert_eq!(told.metrics.len() as u64 + told.omitted, 40);
        assert!(told.metrics.contains_key("m00") && !told.metrics.contains_key("m39"));
    }
}
