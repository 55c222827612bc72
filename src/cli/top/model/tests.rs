use serde_json::json;

use super::*;

/// The agent at an age of so many seconds, with three plugins.
pub(crate) fn status(age: f64) -> Status {
    let last = |code: u8, cpu: f64, rss: u64, rejected: u64| {
        json!({
            "started": "2026-11-22T20:42:10.000Z", "lag": 0.0, "duration": 0.004, "cpu": cpu,
            "max_rss": rss, "outcome": {"kind": "exited", "code": code},
            "status": if code == 0 { "ok" } else { "unknown" },
            "message": null, "accepted": 2, "rejected": rejected,
        })
    };
    let plugin = |last: serde_json::Value, p99: f64, next: &str, rejected: u64| {
        let rejected = if rejected > 0 { json!({"name-hyphen": rejected}) } else { json!({}) };
        json!({
            "state": "ready", "why": null, "life": null, "runs": 10, "skipped": 0, "produced": 20,
            "accepted": 20, "rejected": rejected, "series": 2, "last": last, "next_run": next,
            "running_since": null, "duration_p50": p99 / 2.0, "duration_p99": p99,
        })
    };
    let mut slow = plugin(last(0, 0.2, 9_000_000, 0), 2.5, "2026-11-22T20:43:00.000Z", 0);
    slow["running_since"] = json!("2026-11-22T20:42:15.000Z");
    let mut off = plugin(json!(null), 0.0, "2026-11-22T20:43:00.000Z", 0);
    off["state"] = json!("disabled");
    for unknown in ["next_run", "duration_p50", "duration_p99"] {
        off[unknown] = json!(null);
    }
    serde_json::from_value(json!({
        "agent": {
            "id": "0192f0c1-0000-7000-8000-000000000000", "host": "web-1", "version": "0.1.0",
            "pid": 42, "started": "2026-11-22T20:00:00.000Z", "uptime": age, "running": 1,
            "rss": 9_000_000, "cpu": age / 100.0, "lag_p50": 0.0001, "lag_p99": 0.0003,
            "spool_bytes": 1200, "overflowed": 0, "quarantine_items": 3, "quarantine_bytes": 900,
            "spool_error": null,
        },
        "plugins": {
            "backup": plugin(last(3, 0.001, 2_000_000, 0), 0.02, "2026-11-22T20:42:40.000Z", 0),
            "disk": plugin(last(0, 0.003, 4_000_000, 1), 0.006, "2026-11-22T20:42:21.000Z", 7),
            "off": off,
            "slow": slow,
        },
        "outputs": {
            "main": {"state": "ok", "error": null, "accepted": 20, "delivered": (age * 4.0) as u64,
                     "spooled": 3, "filtered": 0, "evicted": {}, "lost": {}, "oldest_age": 1.5},
            "other": {"state": "hold", "error": "401: the key is not known", "accepted": 20,
                      "delivered": 0, "spooled": 20, "filtered": 0, "evicted": {"quota": 4}, "lost": {},
                      "oldest_age": 300.0},
        },
        "leaks": 0,
    }))
    .unwrap()
}

pub(crate) fn at(clock: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-11-22T{clock}Z")).unwrap()
}

pub(crate) fn model() -> Model {
    let mut model = Model::new();
    model.take(status(100.0), at("20:42:20"));
    model
}

pub(crate) fn press(model: &mut Model, keys: &str) -> Option<Wish> {
    let mut wish = None;
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Escape,
            '↓' => Key::Down,
            '↑' => Key::Up,
            '→' => Key::Right,
            c => Key::Char(c),
        };
        wish = model.press(key, at("20:42:20"));
    }
    wish
}

fn names(model: &Model) -> Vec<&str> {
    model.rows().iter().map(|(name, _)| *name).collect()
}

#[test]
fn trouble_comes_first_and_each_column_has_its_order() {
    let mut model = model();
    assert_eq!(names(&model), ["backup", "disk", "slow", "off"]);
    let orders: Vec<String> = std::iter::repeat_with(|| {
        press(&mut model, "s");
        format!("{:?} {}", model.sort, names(&model).join(" "))
    })
    .take(11)
    .collect();
    assert_eq!(
        orders,
        [
            "Exit backup disk slow off",
            "Next disk backup slow off",
            "Running slow backup disk off",
            "P50 slow backup disk off",
            "P99 slow backup disk off",
            "Cpu slow disk backup off",
            "Rss slow disk backup off",
            "Refused disk backup off slow",
            "Accepted backup disk off slow",
            "Plugin backup disk off slow",
            "Status backup disk slow off",
        ]
    );
}

#[test]
fn a_reversed_order_still_has_what_is_unknown_last() {
    let mut model = model();
    press(&mut model, "ssr");
    assert_eq!((model.sort, model.reversed), (Column::Next, true));
    assert_eq!(names(&model), ["slow", "backup", "disk", "off"]);
    press(&mut model, "SSSr");
    assert_eq!(
        (model.sort, names(&model)),
        (Column::Plugin, vec!["backup", "disk", "off", "slow"])
    );
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut model = model();
    press(&mut model, "/SL");
    assert_eq!((names(&model), model.typing), (vec!["slow"], true));
    // While it is typed, keys are letters.
    assert_eq!(press(&mut model, "q"), None);
    assert!(names(&model).is_empty());
    assert_eq!(model.selected(), None);
    model.press(Key::Backspace, at("20:42:20"));
    press(&mut model, "\n");
    assert_eq!((names(&model), model.typing), (vec!["slow"], false));
    assert_eq!(press(&mut model, "\u{1b}"), None);
    assert_eq!(names(&model).len(), 4);
    // A status is looked for as well.
    press(&mut model, "/fail\n");
    assert_eq!(names(&model), ["backup"]);
}

#[test]
fn the_selection_is_a_plugin_and_not_a_row() {
    let mut model = model();
    assert_eq!(model.selected().as_deref(), Some("backup"));
    press(&mut model, "↓↓");
    assert_eq!(model.selected().as_deref(), Some("slow"));
    press(&mut model, "r");
    assert_eq!(model.selected().as_deref(), Some("slow"));
    press(&mut model, "↓↓↓↓↓↓");
    assert_eq!(model.selected().as_deref(), Some(names(&model)[3]));
    press(&mut model, "g");
    assert_eq!(model.selected().as_deref(), Some(names(&model)[0]));
    // One that is gone leaves the first row.
    press(&mut model, "G");
    let gone = model.selected().unwrap();
    let mut later = status(101.0);
    later.plugins.remove(&gone);
    model.take(later, at("20:42:21"));
    assert_eq!(model.selected().as_deref(), Some(names(&model)[0]));
}

#[test]
fn keys_end_what_was_begun_last_and_then_the_program() {
    let mut model = model();
    assert_eq!(press(&mut model, "\n"), None);
    assert_eq!(model.page, Page::Plugin);
    assert_eq!(press(&mut model, "?"), None);
    assert_eq!(model.page, Page::Help);
    assert_eq!(press(&mut model, "\u{1b}"), None);
    assert_eq!(model.page, Page::Table);
    assert_eq!(press(&mut model, "\u{1b}"), Some(Wish::Quit));
    assert_eq!(press(&mut model, "q"), Some(Wish::Quit));
    press(&mut model, "/");
    assert_eq!(model.press(Key::Interrupt, at("20:42:20")), Some(Wish::Quit));
}

#[test]
fn a_plugin_is_run_by_a_key() {
    let mut model = model();
    assert_eq!(press(&mut model, "↓t"), Some(Wish::Trigger("disk".to_owned())));
    assert_eq!(press(&mut model, "\n→t"), Some(Wish::Trigger("slow".to_owned())));
    assert_eq!(press(&mut model, "?t"), None);
}

#[test]
fn time_stands_still_while_it_is_paused() {
    let mut model = model();
    press(&mut model, "p");
    assert_eq!(model.now(at("20:50:00")), at("20:42:20"));
    press(&mut model, "p");
    assert_eq!(model.now(at("20:50:00")), at("20:50:00"));
}

#[test]
fn another_plugin_is_opened_while_it_is_paused() {
    let mut model = model();
    model.take_detail(Some(detail("backup", 1.0)));
    press(&mut model, "p");
    // What is known of the selected one stands still.
    assert!(!model.lacks_detail());
    press(&mut model, "\n");
    assert!(!model.lacks_detail());
    press(&mut model, "→");
    assert!(model.lacks_detail());
    model.take_detail(Some(detail("disk", 3.0)));
    assert!(!model.lacks_detail());
}

#[test]
fn rates_are_those_of_the_last_minute_and_begin_anew_with_the_agent() {
    let mut model = model();
    // One look at it knows no more than the sum.
    assert!((model.cpu().unwrap() - 0.01).abs() < 1e-9);
    assert_eq!(model.delivery_rate("main"), None);
    for age in 101..300 {
        model.take(status(f64::from(age)), at("20:42:20"));
    }
    assert!((model.delivery_rate("main").unwrap() - 4.0).abs() < 1e-9);
    assert!(model.delivered["main"].len() <= 62);
    model.lose("gone".to_owned(), at("20:42:21"));
    model.lose("still gone".to_owned(), at("20:42:22"));
    assert_eq!(model.lost, Some((at("20:42:21"), "still gone".to_owned())));
    let mut fresh = status(1.0);
    fresh.agent.started = at("20:42:23");
    model.take(fresh, at("20:42:24"));
    assert_eq!((model.lost.is_none(), model.delivery_rate("main")), (true, None));
    assert!(model.note.as_ref().unwrap().1.contains("started again"));
}

pub(crate) fn detail(plugin: &str, value: f64) -> PluginDetail {
    serde_json::from_value(json!({
        "plugin": plugin, "command": ["/opt/plugins/disk.sh", "--all"], "dir": "/opt/plugins",
        "mode": "interval", "interval": 30.0, "cron": null, "timeout": 10.0, "format": "json",
        "durations": [0.001, 0.002, 0.004],
        "values": [
            {"name": "disk_used{mount=/}", "value": value, "unit": "%"},
            {"name": "kernel", "value": "6.1", "unit": null},
        ],
        "refused_at": "2026-11-22T20:42:10.000Z",
        "refused": [{"code": "name-hyphen", "path": "/foo-bar", "line": 1, "column": 8,
                     "value": "\"foo-bar\"", "message": "a name has no hyphens",
                     "hint": "rename it to `foo_bar`"}],
        "stderr_at": "2026-11-22T20:42:10.000Z", "stderr": "first line\nchecked 2 mounts",
    }))
    .unwrap()
}

#[test]
fn values_are_collected_once_a_run_and_for_the_selected_plugin_only() {
    let mut model = model();
    model.take_detail(Some(detail("disk", 1.0)));
    assert_eq!(model.detail, None, "another one is selected");
    press(&mut model, "↓");
    model.take_detail(Some(detail("disk", 1.0)));
    model.take_detail(Some(detail("disk", 1.0)));
    assert_eq!(model.values["disk_used{mount=/}"], [1.0]);
    let mut later = status(101.0);
    later.plugins.get_mut("disk").unwrap().last.as_mut().unwrap().started = at("20:42:40");
    model.take(later, at("20:42:41"));
    model.take_detail(Some(detail("disk", 2.0)));
    assert_eq!(model.values["disk_used{mount=/}"], [1.0, 2.0]);
    assert!(!model.values.contains_key("kernel"));
    press(&mut model, "↑");
    model.take_detail(Some(detail("backup", 9.0)));
    assert_eq!(model.values["disk_used{mount=/}"], [9.0]);
}
