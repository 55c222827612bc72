//! How much work a stranger's JSON Schema may make.
//!
//! A few lines of `$ref` that each lead to the next one twice are checked 2ⁿ times, and a schema may
//! refer to itself. So of a schema that comes with a package every reference is followed before it is
//! used, and what comes out has a bound.

use std::collections::HashMap;

use serde_json::Value;

/// Most subschemas, each `$ref` replaced by what it leads to.
const SIZE: usize = 5_000;
/// Deepest of them.
const DEPTH: usize = 200;

/// Why a schema of a package's is not used.
///
/// # Errors
/// What of it makes checking expensive, in words.
pub fn measure(schema: &Value) -> Result<(), String> {
    Measure { root: schema, known: HashMap::new(), open: Vec::new() }.of(schema, 0).map(|_| ())
}

struct Measure<'a> {
    root: &'a Value,
    /// Size and height of what references lead to.
    known: HashMap<&'a str, (usize, usize)>,
    /// The references that are just being followed.
    open: Vec<&'a str>,
}

impl<'a> Measure<'a> {
    /// Size and height of what is below `node`, which lies at `depth`.
    fn of(&mut self, node: &'a Value, depth: usize) -> Result<(usize, usize), String> {
        // On the way down as well, where a long chain would take the stack.
        within(1, depth)?;
        let (mut size, mut height) = (1, 0);
        let mut add = |(more, high): (usize, usize)| {
            size += more;
            height = height.max(high + 1);
            within(size, depth + height)
        };
        match node {
            Value::Array(items) => {
                for item in items {
                    add(self.of(item, depth + 1)?)?;
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(to)) => add(self.target(to, depth + 1)?)?,
                        // With these it is not told by the text alone where a reference leads.
                        ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err(format!("`{key}` is not for settings; use `$ref`"));
                        }
                        ("$id", Value::String(_)) if depth > 0 => {
                            return Err("`$id` belongs at the top only".to_owned());
                        }
                        _ => add(self.of(value, depth + 1)?)?,
                    }
                }
            }
            _ => return Ok((0, 0)),
        }
        Ok((size, height))
    }

    fn target(&mut self, to: &'a str, depth: usize) -> Result<(usize, usize), String> {
        if let Some(known) = self.known.get(to) {
            return Ok(*known);
        }
        if self.open.contains(&to) || to == "#" {
            return Err(format!("it refers to itself, by `{to}`"));
        }
        let target = to.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let target = target.ok_or_else(|| {
            format!("`$ref` leads to a place in the same file, such as `#/$defs/name`; there is no `{to}`")
        })?;
        self.open.push(to);
        let measured = self.of(target, depth)?;
        self.open.pop();
        self.known.insert(to, measured);
        Ok(measured)
    }
}

fn within(size: usize, depth: usize) -> Result<(), String> {
    if size <= SIZE && depth <= DEPTH {
        return Ok(());
    }
    Err(format!(
        "with every `$ref` followed it has more than {SIZE} parts, or more than {DEPTH} inside each other"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A schema whose definitions each lead to the next one `times` times.
    fn chain(length: usize, times: usize) -> Value {
        let mut defs = serde_json::Map::new();
        for n in 0..length {
            let next = json!({"$ref": format!("#/$defs/x{}", n + 1)});
            defs.insert(format!("x{n}"), json!({"allOf": vec![next; times]}));
        }
        defs.insert(format!("x{length}"), json!({"type": "string"}));
        json!({"$ref": "#/$defs/x0", "$defs": defs})
    }

    #[test]
    fn what_would_be_checked_without_end_is_refused() {
        for good in [
            json!(true),
            json!({"properties": {"$ref": {"type": "string"}, "a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}),
            json!({"$id": "urn:x", "enum": (0..20_000).collect::<Vec<_>>()}),
            chain(20, 1),
            chain(8, 2),
        ] {
            assert_eq!(measure(&good), Ok(()), "{good}");
        }
        for (bad, why) in [
            (chain(40, 2), "more than 5000 parts"),
            (chain(5_000, 1), "inside each other"),
            (json!({"properties": {"a": {"$ref": "#"}}}), "refers to itself"),
            (
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}),
                "refers to itself",
            ),
            (json!({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}), "there is no `#name`"),
            (json!({"$ref": "http://127.0.0.1/x.json"}), "in the same file"),
            (json!({"$dynamicRef": "#x"}), "is not for settings"),
            (json!({"$defs": {"a": {"$id": "urn:b"}}}), "at the top only"),
        ] {
            let said = measure(&bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
