use serde_json::{Map, Value, json};

use crate::model::{MetricType, Status, is_name, nearest_name};

use super::args::EmitArgs;
use super::exit::{Exit, Failure};
use super::print;

/// Prints the full form on one line, so that a shell script needs no quoting of its own.
pub(crate) fn run(args: &EmitArgs) -> Result<Exit, Failure> {
    let document = document(args).map_err(|text| Failure::new(Exit::Usage, text))?;
    print::data(document).map_err(|e| Failure::new(Exit::Disk, format!("stdout: {e}")))?;
    Ok(Exit::Ok)
}

fn document(args: &EmitArgs) -> Result<Value, String> {
    if args.label.is_some() && args.metrics.len() > 1 {
        return Err("--label names one metric; call `talaia emit` once for each".to_owned());
    }
    let tags = args.tags.iter().map(|tag| pair(tag)).collect::<Result<Map<_, _>, _>>()?;
    let metrics = args.metrics.iter().map(|text| metric(text, args, &tags));
    let mut document = json!({ "metrics": metrics.collect::<Result<Vec<_>, _>>()? });
    if let Some(word) = &args.status {
        let status = Status::from_word(word).ok_or_else(|| {
            format!("`{word}` is no status: use ok, warning, critical or unknown")
        })?;
        document["status"] = json!(status);
    }
    if let Some(message) = &args.message {
        document["message"] = json!(message);
    }
    Ok(document)
}

fn metric(text: &str, args: &EmitArgs, tags: &Map<String, Value>) -> Result<Value, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("`{text}` is not NAME=VALUE"));
    };
    if !is_name(name) {
        return Err(format!(
            "`{name}` cannot be a name: use letters, digits and `_`, such as `{}`",
            nearest_name(name)
        ));
    }
    let mut metric = Map::new();
    metric.insert("name".to_owned(), json!(name));
    metric.insert("value".to_owned(), typed(name, value, args.kind)?);
    if let Some(kind) = args.kind {
        metric.insert("type".to_owned(), json!(kind));
    }
    for (key, text) in [("unit", &args.unit), ("label", &args.label)] {
        if let Some(text) = text {
            metric.insert(key.to_owned(), json!(text));
        }
    }
    if !tags.is_empty() {
        metric.insert("tags".to_owned(), Value::Object(tags.clone()));
    }
    Ok(Value::Object(metric))
}

/// The JSON value that a word of a shell means.
pub(crate) fn typed(name: &str, text: &str, kind: Option<MetricType>) -> Result<Value, String> {
    let wrong = |what| format!("{name}: `{text}` is not {what}");
    let number = || serde_json::from_str(text).ok().filter(Value::is_number);
    match kind {
        Some(MetricType::String) => Ok(json!(text)),
        Some(MetricType::Boolean) => match text {
            "true" | "1" => Ok(json!(true)),
            "false" | "0" => Ok(json!(false)),
            _ => Err(wrong("true, false, 1 or 0")),
        },
        Some(_) if text == "null" => Ok(Value::Null),
        Some(MetricType::Integer) => match number() {
            Some(n) if n.is_i64() || n.is_u64() => Ok(n),
            _ => Err(wrong("a whole number")),
        },
        Some(MetricType::Float | MetricType::Percent | MetricType::Counter) => {
            number().ok_or_else(|| wrong("a number; write 0.5 rather than .5, 10 rather than 010"))
        }
        None if matches!(
            text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str(),
            "nan" | "inf" | "infinity"
        ) =>
        {
            Err(format!(
                "{name}: `{text}` is no number in JSON; leave the metric out, write null for a gap, or say --type string"
            ))
        }
        None => Ok(match text {
            "true" => json!(true),
            "false" => json!(false),
            "null" => Value::Null,
            _ => number().unwrap_or_else(|| json!(text)),
        }),
    }
}

fn pair(tag: &str) -> Result<(String, Value), String> {
    match tag.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), json!(value))),
        _ => Err(format!("`{tag}` is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::{Cli, Command};
    use super::*;

    fn emit(line: &str) -> Result<String, String> {
        let words = ["talaia", "emit"].into_iter().chain(line.split(' '));
        let Command::Emit(args) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!()
        };
        document(&args).map(|d| d.to_string())
    }

    #[test]
    fn the_words_of_a_shell_become_json() {
        let line = emit("used=71.2 -t percent -u % -T mount=/ --status warning").unwrap();
        let wanted = r#"{"metrics":[{"name":"used","tags":{"mount":"/"},"type":"percent","unit":"%","value":71.2}],"status":"warning"}"#;
        assert_eq!(line, wanted);
        assert!(emit("a=1 b=x c=true").unwrap().contains(r#"{"name":"b","value":"x"}"#));
        assert!(emit("a=007").unwrap().contains(r#""value":"007""#));
    }

    #[test]
    fn what_would_be_refused_later_is_refused_here() {
        for line in
            ["a-b=1", "a", "a=NaN", "a=-inf", "a=x -t integer", "a=.5 -t float", "a=1 --status bad"]
        {
            assert!(emit(line).is_err(), "{line}");
        }
    }
}
