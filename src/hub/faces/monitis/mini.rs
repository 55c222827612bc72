//! The little languages inside of parameters: `name:label:unit:type;…` and `name:value;…`.
//!
//! Four encodings of them are on the wire once the form is decoded: as they are (Perl, Bash); each
//! field percent-encoded (Python's declarations, M3's values); each piece percent-encoded, its colon
//! as well (Python's results); all of it percent-encoded, often twice (Java, .NET, PHP). They are told
//! apart by which separators are literal. What cannot be told, a single value that has `;`, `:` or
//! `%` in it, is read as the Python client means it, unless the client says that it is of the last
//! kind.

use std::borrow::Cow;

use crate::hub::monitors::{NewField, parse};
use crate::model::{MetricType, is_name, nearest_name};

use super::form::{Plus, decode};

/// Most declared or sent values of one request.
const MOST: usize = 1000;

/// How a client encodes, where it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// It shows in the text.
    Unknown,
    /// Everything is encoded once more than the form is.
    Twice,
}

impl Dialect {
    /// By what the client calls itself, or by a declaration that it encoded whole.
    pub(super) fn of(user_agent: &str, declaration: Option<&str>) -> Self {
        let known = ["Jakarta Commons-HttpClient", "RestSharp"];
        if known.iter().any(|name| user_agent.starts_with(name))
            || declaration.is_some_and(is_whole)
        {
            return Self::Twice;
        }
        Self::Unknown
    }

    /// A plain parameter, such as a name, which such clients encode once more as well.
    pub(super) fn plain(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Unknown => Cow::Borrowed(text),
            Self::Twice => unescaped(text, Plus::Space),
        }
    }
}

/// What `results` holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sent {
    /// Names and values, in the order in which they came.
    pub(super) values: Vec<(String, String)>,
    /// Detail rows that one client puts in between.
    pub(super) additional: Option<serde_json::Value>,
}

/// Why such a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MiniError {
    #[error("{0} has no name; write name:displayName:uom:dataType")]
    NoName(String),
    #[error(
        "dataType of {name} is {kind}; write 1 (boolean), 2 (integer), 3 (string) or 4 (float)"
    )]
    Kind { name: String, kind: String },
    #[error("groups of {0} is not a JSON array of values")]
    Groups(String),
    #[error("aggregation of {name} is {word}; write avg, sum, min, max or last")]
    Aggregation { name: String, word: String },
    #[error("{0} has no value; write name:value")]
    NoValue(String),
    #[error("more than {MOST} values in one request; send fewer")]
    TooMany,
    #[error("additional results are a JSON array of objects")]
    Additional,
}

/// Reads `resultParams` or `additionalResultParams`.
pub(super) fn params(text: &str) -> Result<Vec<NewField>, MiniError> {
    let (text, plus) = whole(text);
    let mut params = Vec::new();
    for piece in pieces(&text) {
        let piece = with_colons(piece);
        // What is behind the sixth colon or in the array may have colons of its own.
        let mut fields = piece.splitn(6, ':').map(|field| unescaped(field.trim(), plus));
        let mut next = || fields.next().unwrap_or_default();
        let (name, label, unit, kind) = (next(), next(), next(), next());
        let (has_fixed, rest) = (next(), next());
        if name.is_empty() {
            return Err(MiniError::NoName(short(&piece)));
        }
        let kind = data_type(&name, &kind, &unit)?;
        let (groups, aggregation) = match rest.rsplit_once(':') {
            Some((groups, word)) if !word.ends_with(']') => (groups, word),
            _ => (&*rest, ""),
        };
        let values = if has_fixed.eq_ignore_ascii_case("true") && !groups.trim().is_empty() {
            groups_of(&name, groups)?.iter().map(|text| parse(kind, text)).collect()
        } else {
            Vec::new()
        };
        let aggregation =
            match aggregation.trim() {
                "" => None,
                word => Some(word.to_ascii_lowercase().parse().map_err(|()| {
                    MiniError::Aggregation { name: short(&name), word: short(word) }
                })?),
            };
        let (label, unit) = (some(&label), some(&unit));
        params.push(NewField {
            label,
            unit,
            values,
            aggregation,
            ..NewField::new(own(&name), kind)
        });
        limit(params.len())?;
    }
    Ok(params)
}

/// Reads `monitorParams`: `name:label:value:type:isHidden`.
pub(super) fn monitor_params(text: &str) -> Result<Vec<NewField>, MiniError> {
    let (text, plus) = whole(text);
    let mut params = Vec::new();
    for piece in pieces(&text) {
        let piece = with_colons(piece);
        let fields: Vec<&str> = piece.split(':').collect();
        // The value may have colons: what is around it has none.
        let (name, label, value, kind, hidden) = match fields.as_slice() {
            [name, label, value @ .., kind, hidden] if !value.is_empty() => {
                (*name, *label, value.join(":"), *kind, *hidden)
            }
            [name, label, value, kind] => (*name, *label, (*value).to_owned(), *kind, "false"),
            _ => return Err(MiniError::NoValue(short(&piece))),
        };
        let name = unescaped(name.trim(), plus);
        if name.is_empty() {
            return Err(MiniError::NoName(short(&piece)));
        }
        let kind = data_type(&name, &unescaped(kind.trim(), plus), "")?;
        params.push(NewField {
            label: some(&unescaped(label.trim(), plus)),
            value: Some(unescaped(&value, plus).into_owned()),
            hidden: unescaped(hidden.trim(), plus).eq_ignore_ascii_case("true"),
            ..NewField::new(own(&name), kind)
        });
        limit(params.len())?;
    }
    Ok(params)
}

/// Reads `results`.
pub(super) fn results(text: &str, dialect: Dialect) -> Result<Sent, MiniError> {
    const ADDITIONAL: &str = "additionalResults:";
    // One piece alone looks alike in two encodings.
    let several = text.contains("%3B") || text.contains("%3b");
    let (text, plus) = if dialect == Dialect::Twice || several {
        whole(text)
    } else {
        (Cow::Borrowed(text), Plus::Itself)
    };
    let mut sent = Sent::default();
    let mut rest: &str = &text;
    // Details are the last thing where they are in between: their texts may have any sign.
    if let Some(at) = rest.find(ADDITIONAL)
        && (at == 0 || rest.as_bytes().get(at - 1) == Some(&b';'))
    {
        let details = rest[at + ADDITIONAL.len()..].trim_end_matches(';');
        sent.additional = Some(additional(&unescaped(details, plus))?);
        rest = &rest[..at];
    }
    for piece in pieces(rest) {
        let encoded_piece = !piece.contains(':');
        let piece = with_colons(piece);
        let Some((name, value)) = piece.split_once(':') else {
            return Err(MiniError::NoValue(short(&piece)));
        };
        let (name, value) = if encoded_piece {
            (Cow::Borrowed(name), Cow::Borrowed(value))
        } else {
            (unescaped(name, plus), unescaped(value, plus))
        };
        if name.trim().is_empty() {
            return Err(MiniError::NoValue(short(&piece)));
        }
        sent.values.push((own(name.trim()), value.into_owned()));
        limit(sent.values.len())?;
    }
    Ok(sent)
}

/// The values of a multi-value result, `[v1,v2]`; `None` where it is one value.
pub(super) fn several(value: &str) -> Option<Vec<&str>> {
    let inside = value.trim().strip_prefix('[')?.strip_suffix(']')?;
    Some(inside.split(',').map(str::trim).collect())
}

/// A JSON array of objects.
pub(super) fn additional(text: &str) -> Result<serde_json::Value, MiniError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| MiniError::Additional)?;
    let objects =
        value.as_array().is_some_and(|rows| rows.iter().all(serde_json::Value::is_object));
    if objects { Ok(value) } else { Err(MiniError::Additional) }
}

/// The name under which it is kept. The old service took any; here what is no name becomes the one
/// next to it, in declarations and results alike.
fn own(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { nearest_name(name) }
}

/// The word of a type on the wire.
pub(super) fn type_number(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Boolean => "1",
        MetricType::Integer | MetricType::Counter => "2",
        MetricType::String => "3",
        MetricType::Float | MetricType::Percent => "4",
    }
}

fn data_type(name: &str, word: &str, unit: &str) -> Result<MetricType, MiniError> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "1" | "boolean" => MetricType::Boolean,
        "2" | "integer" => MetricType::Integer,
        "3" | "string" => MetricType::String,
        "4" | "float" if unit == "%" => MetricType::Percent,
        "4" | "float" => MetricType::Float,
        other => {
            return Err(MiniError::Kind { name: short(name), kind: short(other) });
        }
    })
}

fn groups_of(name: &str, text: &str) -> Result<Vec<String>, MiniError> {
    let wrong = || MiniError::Groups(short(name));
    let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => Ok(text),
            serde_json::Value::Number(number) => Ok(number.to_string()),
            serde_json::Value::Bool(truth) => Ok(truth.to_string()),
            _ => Err(wrong()),
        })
        .collect()
}

/// Whether all of the text was encoded: none of its separators is literal.
fn is_whole(text: &str) -> bool {
    let encoded = text.contains("%3A") || text.contains("%3a");
    encoded && !text.contains(':') && !text.contains(';')
}

/// The text without the encoding around all of it, and what a `+` in its fields means then: such
/// clients write a space so, in the inner layer.
fn whole(text: &str) -> (Cow<'_, str>, Plus) {
    if !is_whole(text) {
        return (Cow::Borrowed(text), Plus::Itself);
    }
    (unescaped(text, Plus::Itself), Plus::Space)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').filter(|piece| !piece.trim().is_empty())
}

/// A piece whose colons are encoded, without that encoding.
fn with_colons(piece: &str) -> Cow<'_, str> {
    if piece.contains(':') { Cow::Borrowed(piece) } else { unescaped(piece, Plus::Itself) }
}

/// The text without one layer of encoding; as it is where that gives no text.
fn unescaped(text: &str, plus: Plus) -> Cow<'_, str> {
    decode(text, plus).unwrap_or(Cow::Borrowed(text))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn limit(length: usize) -> Result<(), MiniError> {
    if length > MOST { Err(MiniError::TooMany) } else { Ok(()) }
}

/// So much of a text as a message shows.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::monitors::Aggregation;
    use crate::model::Value;

    fn read(text: &str) -> Vec<(String, String)> {
        results(text, Dialect::Unknown).unwrap().values
    }

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn param(name: &str, label: &str, unit: &str, kind: MetricType) -> NewField {
        NewField { label: some(label), unit: some(unit), ..NewField::new(name, kind) }
    }

    #[test]
    fn declarations_are_read_in_each_encoding() {
        let wanted = [
            param("response", "Response time", "ms", MetricType::Integer),
            param("status", "Status", "", MetricType::String),
        ];
        for text in [
            "response:Response time:ms:2;status:Status::3",
            "response:Response time:ms:2;status:Status::3;",
            "response:Response%20time:ms:2;status:Status::3",
            "response%3AResponse%2Btime%3Ams%3A2%3Bstatus%3AStatus%3A%3A3",
            "response%3AResponse%20time%3Ams%3A2;status%3AStatus%3A%3A3",
            "response:Response time:ms:integer;status:Status::string",
        ] {
            assert_eq!(params(text).unwrap(), wanted, "{text}");
        }
        let java = "response%3AResponse%2Btime%3Ams%3A2%3Bstatus%3AStatus%3A%3A3";
        assert_eq!(Dialect::of("Java/1.8", Some(java)), Dialect::Twice);
        assert_eq!(Dialect::of("RestSharp 101.3.0.0", None), Dialect::Twice);
        assert_eq!(Dialect::of("Python-urllib/2.7", Some("a:A%20B::2")), Dialect::Unknown);
        assert_eq!(Dialect::Twice.plain("log+parser"), "log parser");
        assert_eq!(Dialect::Unknown.plain("log+parser"), "log+parser");
    }

    #[test]
    fn results_are_read_in_each_encoding() {
        let wanted = pairs(&[("response", "25"), ("status", "ok")]);
        for text in [
            "response:25;status:ok",
            "response:25;status:ok;",
            "response%3A25;status%3Aok",
            "response%3A25%3Bstatus%3Aok",
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
        assert_eq!(results("response%3A25%3Bstatus%3Aok", Dialect::Twice).unwrap().values, wanted);
        assert_eq!(read("alone%3A1"), pairs(&[("alone", "1")]));
        assert_eq!(results("alone%3A1", Dialect::Twice).unwrap().values, pairs(&[("alone", "1")]));
    }

    #[test]
    fn values_keep_what_they_are_made_of() {
        assert_eq!(read("url:http://a/b;t:12:30"), pairs(&[("url", "http://a/b"), ("t", "12:30")]));
        // M3 encodes its values.
        assert_eq!(read("url:http%3A%2F%2Fa%3B%25"), pairs(&[("url", "http://a;%")]));
        // Python encodes its pieces once: what they hold then is what was meant.
        assert_eq!(read("url%3Ahttp%3A//a%2520b"), pairs(&[("url", "http://a%20b")]));
        assert_eq!(read("a:x+y;b%3A1+2"), pairs(&[("a", "x+y"), ("b", "1+2")]));
        // Java encodes texts, and then all.
        let java = results("m%3Ahello%2Bworld%253B%3Bn%3A1", Dialect::Twice).unwrap();
        assert_eq!(java.values, pairs(&[("m", "hello world;"), ("n", "1")]));
        assert_eq!(read("empty:;b:100%"), pairs(&[("empty", ""), ("b", "100%")]));
    }

    #[test]
    fn rows_are_told_from_values() {
        assert_eq!(several("[1, 2,3]"), Some(vec!["1", "2", "3"]));
        assert_eq!(several("1,2"), None);
        assert_eq!(several("[]"), Some(vec![""]));
    }

    #[test]
    fn details_in_between_are_taken_out() {
        let sent = results(
            "status:NOK;test:815;additionalResults:[{%22details%22%3A%22a; b: c%22},{%22n%22%3A 1.50}]",
            Dialect::Unknown,
        )
        .unwrap();
        assert_eq!(sent.values, pairs(&[("status", "NOK"), ("test", "815")]));
        let details = serde_json::json!([{"details": "a; b: c"}, {"n": 1.5}]);
        assert_eq!(sent.additional, Some(details));
    }

    #[test]
    fn details_keep_their_types() {
        let read = additional("[ {\"b\" : 18446744073709551615,\n \"a\": \"1\"} , {} ]").unwrap();
        assert_eq!(read.to_string(), r#"[{"a":"1","b":18446744073709551615},{}]"#);
        for wrong in ["", "{}", "[1]", "[{foo:1}]", "[{}"] {
            assert_eq!(additional(wrong), Err(MiniError::Additional), "{wrong}");
        }
    }

    #[test]
    fn later_fields_of_declarations_are_read() {
        let read = params(
            "state:State::3:true:[\"up\",\"a:b\"]:last;n:N:%:4:false::avg;m:M::2:true:[1,2]",
        )
        .unwrap();
        assert_eq!(read[0].values, ["up", "a:b"].map(|text| Value::Text(text.into())));
        assert_eq!(read[0].aggregation, Some(Aggregation::Last));
        assert_eq!((read[1].kind, read[1].values.len()), (MetricType::Percent, 0));
        assert_eq!(read[1].aggregation, Some(Aggregation::Avg));
        assert_eq!(read[2].values, [1, 2].map(Value::Signed));
        let bare = params("pid:pid::2:true;x:x::3").unwrap();
        assert!(bare[0].values.is_empty(), "said to be limited, and not to what");
    }

    #[test]
    fn what_is_no_name_here_becomes_one() {
        assert_eq!(params("1m: 1 Min. Average: :4").unwrap()[0].name, "_1m");
        assert_eq!(read("1m:0.5;a-b:1"), pairs(&[("_1m", "0.5"), ("a_b", "1")]));
    }

    #[test]
    fn parameters_of_monitors_are_read() {
        let one = &monitor_params("bar::5:2:false").unwrap()[0];
        assert_eq!(
            (one.name.as_str(), one.value.as_deref(), one.hidden),
            ("bar", Some("5"), false)
        );
        let url = "engine:Search Engine:http://g:8080/:3:True;";
        let one = &monitor_params(url).unwrap()[0];
        assert_eq!((one.value.as_deref(), one.hidden), (Some("http://g:8080/"), true));
        assert_eq!(one.label.as_deref(), Some("Search Engine"));
        let four = &monitor_params("a:A:5:2").unwrap()[0];
        assert_eq!((four.value.as_deref(), four.kind), (Some("5"), MetricType::Integer));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| params(text).unwrap_err().to_string();
        assert!(said("a:A:ms:9").contains("dataType of a is 9"));
        assert!(said("a").contains("dataType of a"));
        assert!(said(":A:ms:2").contains("no name"));
        assert!(said("a:A::2:true:[x]").contains("groups of a"));
        assert!(said("a:A::2:false::mean").contains("aggregation of a is mean"));
        assert!(results("a;b:1", Dialect::Unknown).is_err());
        assert!(results(":1", Dialect::Unknown).is_err());
        assert!(monitor_params("a:b:c").is_err());
        let many = "a:1;".repeat(MOST + 1);
        assert_eq!(results(&many, Dialect::Unknown), Err(MiniError::TooMany));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,60}|([a-z%:;\\[\\]+0-9A-F]{0,60})") {
            for dialect in [Dialect::Unknown, Dialect::Twice] {
                let _read = (params(&text), results(&text, dialect), monitor_params(&text));
            }
        }

        /// What each client encodes comes out as it went in.
        #[test]
        fn python_results_come_back(values in proptest::collection::vec("[ -~äß€]{1,12}", 2..5)) {
            let quote = |text: &str| {
                text.bytes().fold(String::new(), |text, b| text + &format!("%{b:02X}"))
            };
            let pieces: Vec<String> = values.iter().enumerate()
                .map(|(n, value)| quote(&format!("v{n}:{value}"))).collect();
            let read = results(&pieces.join(";"), Dialect::Unknown).unwrap();
            let wanted: Vec<(String, String)> =
                values.iter().enumerate().map(|(n, v)| (format!("v{n}"), v.clone())).collect();
            proptest::prop_assert_eq!(read.values, wanted);
        }
    }
}
