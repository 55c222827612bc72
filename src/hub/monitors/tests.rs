//! Monitors on a store of their own.

use proptest::prelude::*;

use super::*;
use crate::hub::caller::{Caller, Scopes};
use crate::hub::store::{Access, Limits, Writer, file_in, open};
use crate::model::{MetricType, Tags, Value};

const NOW: i64 = 1_795_380_130_000;

struct Hub {
    writer: Writer,
    _folder: tempfile::TempDir,
}

fn hub() -> Hub {
    let folder = tempfile::tempdir().unwrap();
    let limits =
        Limits { path: file_in(folder.path()), max_size: 1 << 30, retention: None, min_free: 0 };
    let conn = open(&limits.path, Access::Write).unwrap();
    Hub { writer: Writer::new(conn, limits).unwrap(), _folder: folder }
}

fn by(account: i64) -> Caller {
    Caller { account, scopes: Scopes::ALL, actor: "a test".to_owned() }
}

fn of_types() -> Vec<NewField> {
    MetricType::ALL.into_iter().map(|kind| NewField::new(format!("a_{kind}"), kind)).collect()
}

fn new(name: &str, metrics: Vec<NewField>) -> NewMonitor {
    NewMonitor { name: name.to_owned(), metrics, ..NewMonitor::default() }
}

fn row(ms: i64, values: &[(&str, Value)]) -> ResultRow {
    let values = values.iter().map(|(n, v)| ((*n).to_owned(), v.clone(), Tags::new())).collect();
    ResultRow { ms, values, additional: None }
}

fn all(writer: &mut Writer, id: i64) -> Vec<Row> {
    results(writer.conn(), id, i64::MIN..=i64::MAX, 1_000_000).unwrap().rows
}

fn values(rows: &[Row]) -> Vec<(i64, Vec<(String, Value)>)> {
    rows.iter().map(|row| (row.ms, row.values.clone())).collect()
}

#[test]
fn a_name_is_taken_once_and_ids_never_come_again() {
    let Hub { mut writer, _folder } = hub();
    let conn = writer.conn();
    let id = create(conn, &by(1), &new("netstat_mon", vec![]), NOW).unwrap();
    let again = create(conn, &by(1), &new("netstat_mon", vec![]), NOW).unwrap_err();
    assert!(matches!(again, MonitorError::Exists { id: other, .. } if other == id), "{again}");
    // Another account, or another type, is another thing.
    create(conn, &by(2), &new("netstat_mon", vec![]), NOW).unwrap();
    let typed = NewMonitor { kind: Some("job".to_owned()), ..new("netstat_mon", vec![]) };
    let other = create(conn, &by(1), &typed, NOW).unwrap();
    let two = find(conn, 1, "netstat_mon").unwrap_err();
    assert!(matches!(&two, MonitorError::Ambiguous { ids, .. } if *ids == [id, other]), "{two}");
    writer.remove_monitor(&by(1), other, NOW).unwrap();
    assert_eq!(find(writer.conn(), 1, "netstat_mon").unwrap().id, id);
    assert!(matches!(find(writer.conn(), 2, &id.to_string()), Err(MonitorError::Unknown { .. })));
    let next = create(writer.conn(), &by(1), &new("next", vec![]), NOW).unwrap();
    assert!(next > other);
}

#[test]
fn what_cannot_be_a_monitor_says_where() {
    let Hub { mut writer, _folder } = hub();
    let field = |name: &str| NewField::new(name, MetricType::Integer);
    let with = |values: Vec<Value>| NewField { values, ..field("a") };
    let cases = [
        ("/name", new(" ", vec![])),
        ("/name", new("a\tb", vec![])),
        ("/name", new(&"x".repeat(300), vec![])),
        ("/metrics/1/name", new("m", vec![field("a"), field("b-c")])),
        ("/metrics/1/name", new("m", vec![field("a"), field("a")])),
        ("/metrics/0/values/1", new("m", vec![with(vec![Value::Signed(1), Value::Float(1.5)])])),
        ("/tags/1", NewMonitor { tags: vec!["a".into(), "a".into()], ..new("m", vec![]) }),
    ];
    for (wanted, new) in cases {
        match create(writer.conn(), &by(1), &new, NOW) {
            Err(MonitorError::Invalid { pointer, .. }) => assert_eq!(pointer, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    assert!(list(writer.conn(), 1, &MonitorFilter::default()).unwrap().is_empty());
}

#[test]
fn every_type_reads_back_as_it_was_posted() {
    let Hub { mut writer, _folder } = hub();
    let id = create(writer.conn(), &by(1), &new("all", of_types()), NOW).unwrap();
    let rows = [
        row(
            NOW - 2,
            &[
                ("a_integer", Value::unsigned(u64::MAX)),
                ("a_float", Value::Float(0.1)),
                ("a_percent", Value::Float(171.25)),
                ("a_counter", Value::unsigned(u64::MAX)),
                ("a_boolean", Value::Boolean(true)),
                ("a_string", Value::Text("a,\"b\"\nc;d:é".into())),
            ],
        ),
        row(NOW - 1, &[("a_integer", Value::Signed(i64::MIN)), ("a_float", Value::Float(-1e300))]),
        row(NOW, &[("a_integer", Value::Gap), ("a_string", Value::Text("".into()))]),
    ];
    let posted = writer.post_results(1, id, &rows, NOW).unwrap();
    assert_eq!(posted, Posted { results: 3, values: 10 });
    let want: Vec<_> = rows
        .iter()
        .map(|row| {
            let values = row.values.iter().map(|(n, v, _)| (n.clone(), v.clone())).collect();
            (row.ms, values)
        })
        .collect::<Vec<(i64, Vec<(String, Value)>)>>();
    assert_eq!(values(&all(&mut writer, id)), want);
    writer.compact_now();
    assert_eq!(values(&all(&mut writer, id)), want, "in segments");
}

#[test]
fn one_bad_value_refuses_all_and_says_which_and_why() {
    let Hub { mut writer, _folder } = hub();
    let mut fields = of_types();
    fields.push(NewField {
        values: vec![Value::Signed(1), Value::Signed(2)],
        ..NewField::new("few", MetricType::Integer)
    });
    let id = create(writer.conn(), &by(1), &new("all", fields), NOW).unwrap();
    let cases = [
        ("a_integer", Value::Float(1.5), "value-type"),
        ("a_integer", Value::Text("100".into()), "value-type"),
        ("a_counter", Value::Signed(-1), "value-range"),
        ("a_boolean", Value::Signed(2), "value-range"),
        ("a_string", Value::Signed(2), "value-type"),
        ("a_string", Value::Text("x".repeat(5000).into()), "too-long"),
        ("few", Value::Signed(3), "value-range"),
        ("other", Value::Signed(3), "undeclared"),
        ("a-integer", Value::Signed(3), "name-hyphen"),
    ];
    for (name, value, code) in cases {
        let rows = [row(NOW, &[("a_float", Value::Float(1.0))]), row(NOW, &[(name, value)])];
        match writer.post_results(1, id, &rows, NOW) {
            Err(MonitorError::Refused { count: 1, refused }) => {
                assert_eq!(refused[0].code.as_str(), code, "{refused:?}");
                assert_eq!(refused[0].path, format!("/results/1/values/{name}"));
                assert!(!refused[0].hint.is_empty() && !refused[0].message.is_empty());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for (ms, code) in [(NOW + 600_001, "time-future"), (i64::MAX, "time-invalid")] {
        match writer.post_results(1, id, &[row(ms, &[])], NOW) {
            Err(MonitorError::Refused { refused, .. }) => {
                assert_eq!(
                    (refused[0].code.as_str(), refused[0].path.as_str()),
                    (code, "/results/0/time")
                );
            }
            other => panic!("{code}: {other:?}"),
        }
    }
    assert!(all(&mut writer, id).is_empty(), "nothing was stored");
    let old =
        [row(0, &[("few", Value::Signed(2))]), row(NOW + 600_000, &[("few", Value::Signed(1))])];
    writer.post_results(1, id, &old, NOW).unwrap();
    assert_eq!(all(&mut writer, id).len(), 2, "the past is taken, and clocks may differ a little");
}

#[test]
fn of_two_results_at_one_check_time_the_later_counts_whenever_it_was_compacted() {
    let Hub { mut writer, _folder } = hub();
    let fields =
        vec![NewField::new("n", MetricType::Integer), NewField::new("m", MetricType::Integer)];
    let id = create(writer.conn(), &by(1), &new("twice", fields), NOW).unwrap();
    let of = |from: i64, to: i64, n: i64| -> Vec<ResultRow> {
        (from..to).map(|ms| row(ms, &[("n", Value::Signed(n))])).collect()
    };
    // The later one's segment begins earlier.
    writer.post_results(1, id, &of(1000, 3000, 1), NOW).unwrap();
    writer.compact_now();
    writer.post_results(1, id, &of(500, 2000, 2), NOW).unwrap();
    writer.compact_now();
    writer
        .post_results(1, id, &[row(1500, &[("n", Value::Signed(3)), ("m", Value::Signed(4))])], NOW)
        .unwrap();
    let rows = all(&mut writer, id);
    assert_eq!(rows.len(), 2500);
    let at = |ms: i64| values(&rows).into_iter().find(|row| row.0 == ms).unwrap().1;
    assert_eq!(at(1200), [("n".to_owned(), Value::Signed(2))]);
    assert_eq!(at(2500), [("n".to_owned(), Value::Signed(1))]);
    assert_eq!(at(1500), [("n".to_owned(), Value::Signed(3)), ("m".to_owned(), Value::Signed(4))]);
    // A page ends between check times.
    let page = results(writer.conn(), id, 1499..=1501, 2).unwrap();
    assert_eq!((page.rows.len(), page.next), (2, Some(1501)));
}

#[test]
fn several_values_at_one_check_time_are_rows() {
    let Hub { mut writer, _folder } = hub();
    let fields = vec![NewField::new("n", MetricType::Integer)];
    let many = NewMonitor { multi_value: true, ..new("many", fields.clone()) };
    let id = create(writer.conn(), &by(1), &many, NOW).unwrap();
    let three =
        row(NOW, &[("n", Value::Signed(1)), ("n", Value::Signed(1)), ("n", Value::Signed(3))]);
    writer.post_results(1, id, std::slice::from_ref(&three), NOW).unwrap();
    let rows = all(&mut writer, id);
    let rows_of: Vec<_> = rows.iter().map(|r| (r.tags.get("row"), r.values[0].1.clone())).collect();
    assert_eq!(
        rows_of,
        [(None, Value::Signed(1)), (Some("2"), Value::Signed(1)), (Some("3"), Value::Signed(3))]
    );
    // What comes later takes the place of all of them.
    let two = row(NOW, &[("n", Value::Signed(7)), ("n", Value::Signed(8))]);
    writer.post_results(1, id, &[two], NOW).unwrap();
    let rows: Vec<_> = all(&mut writer, id).iter().map(|r| r.values[0].1.clone()).collect();
    assert_eq!(rows, [Value::Signed(7), Value::Signed(8)]);

    let one = create(writer.conn(), &by(1), &new("one", fields), NOW).unwrap();
    let refused = writer.post_results(1, one, &[three], NOW).unwrap_err();
    let MonitorError::Refused { refused, .. } = refused else { panic!("{refused}") };
    assert_eq!(refused[0].code.as_str(), "duplicate-series");
}

#[test]
fn a_suspended_monitor_takes_nothing_until_it_is_activated() {
    let Hub { mut writer, _folder } = hub();
    let id = create(writer.conn(), &by(1), &new("s", vec![]), NOW).unwrap();
    assert!(suspend(&mut writer, &by(1), id, NOW).unwrap());
    assert!(!suspend(&mut writer, &by(1), id, NOW + 1).unwrap());
    let results = [row(NOW, &[("n", Value::Signed(1))])];
    let refused = writer.post_results(1, id, &results, NOW).unwrap_err();
    assert!(matches!(refused, MonitorError::Suspended { .. }), "{refused}");
    let rows = serde_json::json!([{}]);
    let refused =
        put_additional(&mut writer, 1, id, (NOW, &rows), Checking::Declared, NOW).unwrap_err();
    assert!(matches!(refused, MonitorError::Suspended { .. }), "{refused}");
    assert!(activate(&mut writer, &by(1), id, NOW).unwrap());
    writer.post_results(1, id, &results, NOW).unwrap();
    assert!(matches!(suspend(&mut writer, &by(2), id, NOW), Err(MonitorError::Unknown { .. })));
}

#[test]
fn a_monitor_goes_with_all_that_it_has() {
    let Hub { mut writer, _folder } = hub();
    let id = create(writer.conn(), &by(1), &new("gone", vec![]), NOW).unwrap();
    let other = create(writer.conn(), &by(1), &new("stays", vec![]), NOW).unwrap();
    for monitor in [id, other] {
        let results: Vec<_> = (0..10)
            .map(|n| row(NOW - n, &[("n", Value::Signed(n)), ("m", Value::Signed(n))]))
            .collect();
        writer.post_results(1, monitor, &results, NOW).unwrap();
        put_additional(
            &mut writer,
            1,
            monitor,
            (NOW, &serde_json::json!([{"a": 1}])),
            Checking::Declared,
            NOW,
        )
        .unwrap();
    }
    let went = writer.remove_monitor(&by(1), id, NOW).unwrap();
    assert_eq!(went, Held { results: 10, values: 20, additional: 1, ..Held::default() });
    assert!(all(&mut writer, id).is_empty());
    assert_eq!(held(writer.conn(), other).unwrap(), went);
    // What comes next gets nothing of it.
    let next = create(writer.conn(), &by(1), &new("gone", vec![]), NOW).unwrap();
    writer.post_results(1, next, &[row(NOW, &[("n", Value::Signed(5))])], NOW).unwrap();
    assert_eq!(held(writer.conn(), next).unwrap().values, 1);
    writer.compact_now();
    assert_eq!(held(writer.conn(), next).unwrap().values, 1);
}

#[test]
fn edits_keep_ids_and_types() {
    let Hub { mut writer, _folder } = hub();
    let field = |name: &str, kind| NewField::new(name, kind);
    let fields_new = vec![field("a", MetricType::Integer), field("b", MetricType::Integer)];
    let id = create(writer.conn(), &by(1), &new("e", fields_new), NOW).unwrap();
    writer.post_results(1, id, &[row(NOW, &[("a", Value::Signed(1))])], NOW).unwrap();
    let before = fields(writer.conn(), id, Role::Result).unwrap();
    let metrics = |kind| {
        Some(vec![field("c", MetricType::String), field("a", kind), field("b", MetricType::String)])
    };
    let wrong = Edit { metrics: metrics(MetricType::String), ..Edit::default() };
    let refused = edit(writer.conn(), &by(1), id, &wrong, NOW).unwrap_err();
    assert!(
        matches!(&refused, MonitorError::Invalid { pointer, .. } if pointer == "/metrics/1/type"),
        "{refused}"
    );
    let right = Edit {
        name: Some("f".to_owned()),
        tags: Some(vec!["x".to_owned(), "y".to_owned()]),
        metrics: metrics(MetricType::Float),
        ..Edit::default()
    };
    edit(writer.conn(), &by(1), id, &right, NOW).unwrap();
    let found = find(writer.conn(), 1, "f").unwrap();
    assert_eq!((found.id, found.tag()), (id, "x"));
    let after = fields(writer.conn(), id, Role::Result).unwrap();
    let names: Vec<_> = after.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert_eq!(after[1].id, before[0].id);
    writer.post_results(1, id, &[row(NOW + 1, &[("a", Value::Float(1.5))])], NOW).unwrap();
}

#[test]
fn lists_are_filtered_and_paged() {
    let Hub { mut writer, _folder } = hub();
    for n in 0..5 {
        let tags = vec![if n % 2 == 0 { "even" } else { "odd" }.to_owned(), "all".to_owned()];
        let monitor = NewMonitor { tags, ..new(&format!("m{n}"), vec![]) };
        create(writer.conn(), &by(1), &monitor, NOW + n).unwrap();
    }
    let mut names = |filter: MonitorFilter| -> Vec<String> {
        list(writer.conn(), 1, &filter).unwrap().into_iter().map(|m| m.name).collect()
    };
    let given = |text: &str| Some(text.to_owned());
    assert_eq!(
        names(MonitorFilter { tag: given("even"), ..Default::default() }),
        ["m0", "m2", "m4"]
    );
    assert_eq!(names(MonitorFilter { name: given("m3"), ..Default::default() }), ["m3"]);
    assert_eq!(names(MonitorFilter { search: given("ODD"), ..Default::default() }), ["m1", "m3"]);
    assert_eq!(
        names(MonitorFilter {
            kind: given("custom"),
            limit: Some(2),
            after: Some(1),
            ..Default::default()
        }),
        ["m1", "m2"]
    );
    assert_eq!(
        names(MonitorFilter { unused_since: Some(NOW + 2), ..Default::default() }),
        ["m0", "m1"]
    );
    assert!(names(MonitorFilter { sender: Some(Sender::Agent), ..Default::default() }).is_empty());
    assert!(names(MonitorFilter { suspended: Some(true), ..Default::default() }).is_empty());
}

fn reported(
    writer: &mut Writer,
    id: i64,
    aggregation: Option<Aggregation>,
) -> Vec<(i64, Vec<Value>)> {
    let interval = Interval::new(1, Span::Minute, 0).unwrap();
    let query = ReportQuery { from: 0, to: i64::MAX, interval, aggregation, limit: 1000 };
    let page = report(writer.conn(), id, &query).unwrap();
    page.rows.into_iter().map(|r| (r.ms, r.values.into_iter().map(|v| v.1).collect())).collect()
}

#[test]
fn reports_draw_results_together_each_in_its_own_way() {
    let Hub { mut writer, _folder } = hub();
    let fields = vec![
        NewField::new("n", MetricType::Integer),
        NewField { aggregation: Some(Aggregation::Max), ..NewField::new("m", MetricType::Integer) },
        NewField::new("c", MetricType::Counter),
        NewField::new("s", MetricType::String),
    ];
    let id = create(writer.conn(), &by(1), &new("r", fields), NOW).unwrap();
    let at = |second: i64, n: i64, c: i64| {
        row(
            second * 1000,
            &[
                ("n", Value::Signed(n)),
                ("m", Value::Signed(n)),
                ("c", Value::Signed(c)),
                ("s", Value::Text(format!("s{second}").into())),
            ],
        )
    };
    // The counter begins anew in the second minute.
    writer
        .post_results(1, id, &[at(0, 1, 100), at(30, 2, 160), at(60, 9, 20), at(90, 1, 50)], NOW)
        .unwrap();
    let text = |t: &str| Value::Text(t.into());
    assert_eq!(
        reported(&mut writer, id, None),
        [
            (0, vec![Value::Float(1.5), Value::Signed(2), Value::Float(2.0), text("s30")]),
            (
                60_000,
                vec![Value::Float(5.0), Value::Signed(9), Value::Float(50.0 / 60.0), text("s90")]
            ),
        ]
    );
    assert_eq!(
        reported(&mut writer, id, Some(Aggregation::Sum))[1],
        (60_000, vec![Value::Signed(10), Value::Signed(10), Value::Float(50.0), text("s90")])
    );
    assert_eq!(
        reported(&mut writer, id, Some(Aggregation::Last))[0],
        (0, vec![Value::Signed(2), Value::Signed(2), Value::Signed(160), text("s30")])
    );
    // A page that starts later knows what the counter grew from.
    let interval = Interval::new(1, Span::Minute, 0).unwrap();
    let query = ReportQuery { from: 0, to: i64::MAX, interval, aggregation: None, limit: 1 };
    let first = report(writer.conn(), id, &query).unwrap();
    assert_eq!((first.rows.len(), first.next), (1, Some(60_000)));
    let second = report(writer.conn(), id, &ReportQuery { from: 60_000, ..query }).unwrap();
    assert_eq!(second.rows[0].values[2].1, Value::Float(50.0 / 60.0));
    assert_eq!(second.next, None);
}

fn any_value(kind: MetricType) -> BoxedStrategy<Value> {
    match kind {
        MetricType::Integer => prop_oneof![
            any::<i64>().prop_map(Value::Signed),
            any::<u64>().prop_map(Value::unsigned)
        ]
        .boxed(),
        MetricType::Counter => any::<u64>().prop_map(Value::unsigned).boxed(),
        MetricType::Float | MetricType::Percent => {
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::Float).boxed()
        }
        MetricType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        MetricType::String => ".{0,40}".prop_map(|t| Value::Text(t.into())).boxed(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_last_post_for_each_time_and_name_reads_back_in_order(
        posts in prop::collection::vec(
            prop::collection::vec(
                (0_i64..40, (0_usize..6).prop_flat_map(|k| any_value(MetricType::ALL[k]).prop_map(move |v| (k, v)))),
                0..20,
            ),
            1..6,
        ),
        compacted in any::<u8>(),
    ) {
        let Hub { mut writer, _folder } = hub();
        let id = create(writer.conn(), &by(1), &new("p", of_types()), NOW).unwrap();
        let mut want = std::collections::BTreeMap::new();
        for (nth, post) in posts.iter().enumerate() {
            let rows: Vec<_> = post
                .iter()
                .map(|(day, (kind, value))| {
                    // Days apart, so that reading goes through many stretches of time.
                    let ms = NOW - day * 86_400_000 * 30;
                    want.insert((ms, *kind), value.clone());
                    row(ms, &[(&format!("a_{}", MetricType::ALL[*kind]), value.clone())])
                })
                .collect();
            writer.post_results(1, id, &rows, NOW).unwrap();
            if compacted >> nth & 1 == 1 {
                writer.compact_now();
            }
        }
        let mut got = Vec::new();
        let mut from = i64::MIN;
        loop {
            let page = results(writer.conn(), id, from..=i64::MAX, 3).unwrap();
            for row in page.rows {
                for (name, value) in row.values {
                    let kind = MetricType::ALL.iter().position(|k| format!("a_{k}") == name).unwrap();
                    got.push(((row.ms, kind), value));
                }
            }
            let Some(next) = page.next else { break };
            from = next;
        }
        prop_assert_eq!(got, want.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn thousands_of_values_at_one_check_time_are_refused_and_a_thousand_taken() {
    let Hub { mut writer, _folder } = hub();
    let fields = vec![NewField::new("n", MetricType::Integer)];
    let many = NewMonitor { multi_value: true, ..new("many", fields) };
    let id = create(writer.conn(), &by(1), &many, NOW).unwrap();
    let values = |count: i64| (0..count).map(|n| ("n", Value::Signed(n))).collect::<Vec<_>>();
    writer.post_results(1, id, &[row(NOW, &values(1000))], NOW).unwrap();
    let rows: Vec<_> = all(&mut writer, id).iter().map(|r| r.values[0].1.clone()).collect();
    assert_eq!(rows, (0..1000).map(Value::Signed).collect::<Vec<_>>());
    // Be it all in one row or in two of the same time.
    for rows in [
        vec![row(NOW, &values(1001))],
        vec![row(NOW, &values(600)), row(NOW - 1, &values(9)), row(NOW, &values(401))],
    ] {
        let refused = writer.post_results(1, id, &rows, NOW).unwrap_err();
        let MonitorError::Refused { count: 1, refused } = refused else { panic!("{refused}") };
        assert!(refused[0].message.starts_with("over 1000 values"), "{:?}", refused[0]);
    }
    let wide: Vec<_> = (0..501).map(|n| row(NOW - n, &values(1000))).collect();
    let refused = writer.post_results(1, id, &wide, NOW).unwrap_err();
    assert!(refused.to_string().contains("over 500000 values in one post"), "{refused}");
}

#[test]
fn a_page_of_long_texts_ends_before_its_rows_do() {
    let Hub { mut writer, _folder } = hub();
    let fields = vec![NewField::new("t", MetricType::String)];
    let id = create(writer.conn(), &by(1), &new("texts", fields), NOW).unwrap();
    let text = |n: i64| row(NOW + n, &[("t", Value::Text("x".repeat(99).into()))]);
    writer.post_results(1, id, &[text(0), text(1), text(2)], NOW).unwrap();
    let all = i64::MIN..=i64::MAX;
    let page = read::results_within(writer.conn(), id, all.clone(), 100, 150).unwrap();
    assert_eq!((page.rows.len(), page.next), (2, Some(NOW + 2)));
    let page = read::results_within(writer.conn(), id, all.clone(), 100, 1000).unwrap();
    assert_eq!((page.rows.len(), page.next), (3, None));

    for n in 0..3 {
        let rows = serde_json::json!([{"a": "x".repeat(100)}]);
        put_additional(&mut writer, 1, id, (NOW + n, &rows), Checking::Declared, NOW).unwrap();
    }
    let found = additional::additional_within(writer.conn(), id, all.clone(), 100, 150).unwrap();
    assert_eq!((found.items.len(), found.next), (2, Some(NOW + 2)));
    let found = additional(writer.conn(), id, all, 2).unwrap();
    assert_eq!((found.items.len(), found.next), (2, Some(NOW + 2)));
}

#[test]
fn a_name_of_digits_is_nobodys() {
    let Hub { mut writer, _folder } = hub();
    let conn = writer.conn();
    let refused = create(conn, &by(1), &new("17", vec![]), NOW).unwrap_err();
    assert!(refused.to_string().contains("digits alone"), "{refused}");
    let id = create(conn, &by(1), &new("17th", vec![]), NOW).unwrap();
    let wish = Edit { name: Some("17".to_owned()), ..Edit::default() };
    let refused = edit(conn, &by(1), id, &wish, NOW).unwrap_err();
    assert!(refused.to_string().contains("digits alone"), "{refused}");
    assert!(matches!(must_find(conn, 1, 17), Err(MonitorError::Unknown { .. })));
}
