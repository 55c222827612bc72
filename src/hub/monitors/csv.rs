//! Results as comma-separated values (RFC 4180, but for lines that end in a line feed alone).
//!
//! The first column is the time, then one for every tag (`tag:mount`), then one for every metric. A
//! gap is empty; a text that is empty stands in quotes. So it reads back as it was.

use std::collections::BTreeSet;

use crate::hub::csv::{Texts, cell};
use crate::hub::store::json;
use crate::model::{Timestamp, Value};

use super::read::Page;

/// The line of names.
fn head(page: &Page, tags: &[&str]) -> String {
    let mut line = "time".to_owned();
    for tag in tags {
        line.push(',');
        line.push_str(&cell(&format!("tag:{tag}"), Texts::Exact));
    }
    for name in &page.names {
        line.push(',');
        line.push_str(name);
    }
    line.push('\n');
    line
}

/// A page of results, under a line of names. Pages of one monitor have the same columns.
pub(crate) fn csv(page: &Page, texts: Texts) -> String {
    let tags: BTreeSet<&str> =
        page.tags.iter().flat_map(|tags| tags.iter().map(|(key, _)| key)).collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    let mut text = head(page, &tags);
    for row in &page.rows {
        match Timestamp::from_millis(row.ms) {
            Some(time) => text.push_str(&time.to_string()),
            None => text.push_str(&row.ms.to_string()),
        }
        for tag in &tags {
            text.push(',');
            if let Some(value) = row.tags.get(tag) {
                text.push_str(&cell(value, texts));
            }
        }
        let mut values = row.values.iter().peekable();
        for name in &page.names {
            text.push(',');
            // Rows have their values in the order of the names.
            if let Some((_, value)) = values.next_if(|(of, _)| of == name) {
                text.push_str(&written(value, texts));
            }
        }
        text.push('\n');
    }
    text
}

fn written(value: &Value, texts: Texts) -> String {
    match value {
        Value::Gap => String::new(),
        Value::Text(text) => cell(text, texts),
        number => json(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::monitors::Row;
    use crate::model::Tags;

    #[test]
    fn texts_with_commas_quotes_and_line_breaks_stand_in_quotes() {
        let tags: Tags = [("mount", "/a,b")].into_iter().collect();
        let value = |name: &str, value| (name.to_owned(), value);
        let rows = vec![
            Row {
                ms: 0,
                tags: tags.clone(),
                values: vec![
                    value("n", Value::unsigned(u64::MAX)),
                    value("s", Value::Text("say \"a\",\nb".into())),
                ],
            },
            Row { ms: 1, tags: Tags::new(), values: vec![value("s", Value::Text("".into()))] },
            Row {
                ms: 2,
                tags: Tags::new(),
                values: vec![value("n", Value::Float(2.0)), value("s", Value::Gap)],
            },
        ];
        let page = Page {
            rows,
            next: None,
            names: vec!["n".to_owned(), "s".to_owned()],
            tags: vec![Tags::new(), tags],
        };
        assert_eq!(
            csv(&page, Texts::Exact),
            "time,tag:mount,n,s\n\
             1970-01-01T00:00:00.000Z,\"/a,b\",18446744073709551615,\"say \"\"a\"\",\nb\"\n\
             1970-01-01T00:00:00.001Z,,,\"\"\n\
             1970-01-01T00:00:00.002Z,,2.0,\n"
        );
    }
}
