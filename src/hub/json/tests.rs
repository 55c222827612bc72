use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Reads any value, by way of serde_json's type.
fn value(reader: &mut Reader<'_>) -> Read<Value> {
    Ok(match reader.kind()? {
        JsonKind::Null => {
            assert!(reader.null()?);
            Value::Null
        }
        JsonKind::Boolean => Value::Bool(reader.boolean("")?),
        JsonKind::Number => match reader.number("")? {
            Number::Signed(n) => n.into(),
            Number::Unsigned(n) => n.into(),
            Number::Float(x) => x.into(),
        },
        JsonKind::String => Value::String(reader.string("")?.into_owned()),
        JsonKind::Array => {
            let (mut open, mut all) = (reader.array("")?, Vec::new());
            while reader.element(&mut open)? {
                all.push(value(reader)?);
            }
            Value::Array(all)
        }
        JsonKind::Object => {
            let (mut open, mut all) = (reader.object("")?, serde_json::Map::new());
            while let Some(key) = reader.key(&mut open)? {
                all.insert(key.into_owned(), value(reader)?);
            }
            Value::Object(all)
        }
    })
}

fn whole(text: &str) -> Read<Value> {
    let mut reader = Reader::new(text);
    let read = value(&mut reader)?;
    reader.end()?;
    Ok(read)
}

fn skipped(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

/// Both read the same, or neither reads it. serde_json may be one bit off in a float, because
/// it trades that for speed.
fn agrees(text: &str) {
    let (ours, theirs) = (whole(text), serde_json::from_str::<Value>(text));
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert!(alike(ours, theirs), "{text}: {ours} {theirs}"),
        (Err(_), Err(_)) => {}
        _ => panic!("{text}: {ours:?} {theirs:?}"),
    }
    if ours.is_ok() {
        assert!(skipped(text), "{text}");
    }
}

fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let bits = |n: &serde_json::Number| n.as_f64().map_or(0, f64::to_bits);
            bits(a).abs_diff(bits(b)) <= 1
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(k, v)| b.get(k).is_some_and(|other| alike(v, other)))
        }
        _ => a == b,
    }
}

#[test]
fn every_corner_reads_as_serde_json_reads_it() {
    for text in [
        "",
        " ",
        "null",
        "nul",
        "nulll",
        "true",
        "falsee",
        "[]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[",
        "]",
        "{}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"\\u0061\":1}",
        "0",
        "-0",
        "00",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1e5",
        "1E-5",
        "-0.0",
        "1.5e308",
        "1e309",
        "-1e309",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "0.1",
        "0.30000000000000004",
        "123456789012345.6",
        "1234567890123456789012345",
        "0.000000000000000000000000000001",
        "\"\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ud83dx\"",
        "\"a\nb\"",
        "\"a\u{7f}\u{80}b\"",
        "\"\\b\\f\\n\\r\\t\\/\\\\\"",
        "1 x",
        "\u{feff}1",
        "\u{a0}1",
        "{\"a\":1,\"a\":2}",
        "[[[]]]",
        "nan",
        "NaN",
        "Infinity",
    ] {
        agrees(text);
    }
}

#[test]
fn depth_is_bounded_and_strings_do_not_count() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(skipped(&nested(64)));
    assert!(!skipped(&nested(65)));
    assert!(skipped(&format!("\"{}\\\"[\"", "[".repeat(65))));
    assert!(skipped(&format!("[{}1]", "[],".repeat(1000))));
    assert!(!skipped(&"[".repeat(1_000_000)));
    assert!(!skipped(&"{\"a\":".repeat(200_000)));
}

#[test]
fn members_come_once_in_any_order() {
    const NAMES: &[&str] = &["a", "b", "c"];
    let read = |text: &str| -> Read<Vec<&str>> {
        let (mut reader, mut names) = (Reader::new(text), Vec::new());
        let mut open = reader.object("")?;
        while let Some(name) = reader.member(&mut open, NAMES, 2)? {
            names.push(name);
            reader.skip()?;
        }
        Ok(names)
    };
    assert_eq!(read(r#"{"a":1,"b":2}"#).unwrap(), ["a", "b"]);
    assert_eq!(
        read(r#"{"c":1,"\u0062":2,"x":3, "a" : 4,"x":5}"#).unwrap(),
        ["c", "b", "", "a", ""]
    );
    assert!(read(r#"{"a":1,"c":2}"#).unwrap_err().0.message.contains("`b` is missing"));
    let twice = read(r#"{"a":1,"b":2,"a":3}"#).unwrap_err();
    assert!(twice.0.message.contains("`a` comes twice"), "{twice:?}");
    assert_eq!(twice.0.at, 13);
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
        (any::<i32>(), 0..10_i32).prop_map(|(n, e)| Value::from(f64::from(n) / 10_f64.powi(e))),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_reads_back(tree in tree(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) };
        prop_assert_eq!(whole(&text.unwrap()).unwrap(), tree);
    }

    #[test]
    fn a_change_anywhere_is_seen_by_both(tree in tree(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}\",:0-9eE.\\\\utrn -]") {
        let text = serde_json::to_string(&tree).unwrap();
        let mut cut: Vec<char> = text.chars().collect();
        let at = at.index(cut.len());
        cut[at] = with.chars().next().unwrap();
        agrees(&cut.iter().collect::<String>());
    }
}

proptest! {
    #[test]
    fn the_first_special_byte_of_eight_is_found(bytes in any::<[u8; 8]>(), plain in any::<[bool; 8]>()) {
        let bytes: [u8; 8] = std::array::from_fn(|n| if plain[n] { b' ' + bytes[n] % 223 } else { bytes[n] });
        let want = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(8);
        prop_assert_eq!(special(u64::from_le_bytes(bytes)).trailing_zeros() as usize / 8, want);
    }
}
