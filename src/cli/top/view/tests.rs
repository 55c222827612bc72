use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::super::model::tests::{at, detail, model, press, status};
use super::*;

/// The screen after these keys.
fn screen(model: &mut Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { colours: true };
    terminal.draw(|frame| draw(frame, model, theme, at("20:42:20"))).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let line = |y| {
        let cells = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..buffer.area.height).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_table_fits_eighty_columns() {
    let mut model = model();
    press(&mut model, "↓");
    model.take_detail(Some(detail("disk", 71.2)));
    insta::assert_snapshot!(text(&screen(&mut model, 80, 16)), @r#"
talaia 0.1.0 on web-1  up 1m40  4 plugins: 2 failing 1 ok 1 idle
running 1  cpu 1.0%  mem 9.0M  start lag p99 300µs  spool 1.2k  quarantine 3
→ other  hold    delivered 0  waiting 20 for 5m00  lost 4  401: the key is not …
→ main   ok      delivered 400  waiting 3 for 1.5s
PLUGIN  STATUS▼  EXIT      NEXT   RUN   P50   P99   CPU  RSS REFUS ACCPT
backup  failed   exit 3     20s     -  10ms  20ms 1.0ms 2.0M     0    20
disk    refused  0           1s     - 3.0ms 6.0ms 3.0ms 4.0M     7    20
slow    ok       0          40s    5s  1.2s  2.5s 200ms 9.0M     0    20
off     disabled -            -     -     -     -     -    -     0    20





disk refused: name-hyphen: a name has no hyphens; rename it to `foo_bar`
 q quit  ? help  ⏎ open  s sort  r reverse  / filter  p pause  t run now
"#);
}

#[test]
fn a_plugin_has_a_page() {
    let mut model = model();
    press(&mut model, "↓\n");
    model.take_detail(Some(detail("disk", 71.2)));
    insta::assert_snapshot!(text(&screen(&mut model, 80, 30)), @r#"
talaia 0.1.0 on web-1  up 1m40  4 plugins: 2 failing 1 ok 1 idle
running 1  cpu 1.0%  mem 9.0M  start lag p99 300µs  spool 1.2k  quarantine 3
→ other  hold    delivered 0  waiting 20 for 5m00  lost 4
    401: the key is not known
→ main   ok      delivered 400  waiting 3 for 1.5s

disk  refused  exit 0
command   /opt/plugins/disk.sh --all
in        /opt/plugins
when      every 30s; timeout 10s; format json
next      in 1s
last      10s ago (20:42:10), took 4 ms, CPU 3 ms, memory 4.0 MB
in all    10 runs, 0 skipped; 20 records accepted, 7 refused (name-hyphen 7)

DURATION  of the last 3 runs: half within 3 ms, 99 of 100 within 6 ms
▃▅█

VALUES  the first of the last run that had any
disk_used{mount=/}  71.2 %
kernel              6.1

REFUSED  by the run of 20:42:10
line 1:8 name-hyphen: a name has no hyphens
  got: "foo-bar"
  hint: rename it to `foo_bar`

STDERR  the last of what the run of 20:42:10 said
first line
checked 2 mounts
 Esc back  ←→ others  ↑↓ scroll  t run now  p pause  ? help  q quit
"#);
}

#[test]
fn columns_go_by_their_worth_where_it_is_narrow_and_what_plugins_say_comes_where_it_is_wide() {
    let mut model = model();
    let heads = [40, 60, 80, 120].map(|width| {
        let screen = text(&screen(&mut model, width, 15));
        screen.lines().find(|line| line.starts_with("PLUGIN")).unwrap().to_owned()
    });
    insta::assert_snapshot!(heads.join("\n"), @r#"
PLUGIN  STATUS▼  EXIT      NEXT   P99
PLUGIN  STATUS▼  EXIT      NEXT   RUN   P50   P99  RSS REFUS
PLUGIN  STATUS▼  EXIT      NEXT   RUN   P50   P99   CPU  RSS REFUS ACCPT
PLUGIN  STATUS▼  EXIT      NEXT   RUN   P50   P99   CPU  RSS REFUS ACCPT  SAYS
"#);
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut model = model();
    model.take_detail(Some(detail("backup", 1.0)));
    for keys in ["", "\n", "\u{1b}?", "\u{1b}/x"] {
        press(&mut model, keys);
        for (width, height) in [(1, 1), (2, 3), (10, 4), (20, 2), (60, 15), (80, 24), (200, 50)] {
            assert_eq!(screen(&mut model, width, height).area.width, width);
        }
    }
}

#[test]
fn the_selected_row_is_always_seen() {
    let mut model = Model::new();
    let mut many = status(100.0);
    let plugin = many.plugins["slow"].clone();
    many.plugins = (0..500).map(|n| (format!("plugin_{n:03}"), plugin.clone())).collect();
    model.take(many, at("20:42:20"));
    let seen = |model: &mut Model| {
        let selected = model.selected().unwrap();
        let screen = screen(model, 80, 24);
        let row = (0..24).find(|y| screen[(0, *y)].modifier.contains(Modifier::REVERSED));
        let lines = text(&screen);
        let line = lines.lines().nth(usize::from(row.unwrap())).unwrap();
        assert!(line.starts_with(&selected), "{selected}: {line}");
    };
    seen(&mut model);
    for keys in ["↓↓↓", "G", "↑", "g", "r"] {
        press(&mut model, keys);
        seen(&mut model);
    }
    for _ in 0..100 {
        press(&mut model, "↓");
        seen(&mut model);
    }
}

#[test]
fn what_is_said_in_colour_is_said_in_words() {
    let mut model = model();
    let coloured = screen(&mut model, 80, 24);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let theme = Theme { colours: false };
    terminal.draw(|frame| draw(frame, &mut model, theme, at("20:42:20"))).unwrap();
    let plain = terminal.backend().buffer();
    assert_eq!(text(&coloured), text(plain));
    let colours = |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(colours(&coloured) && !colours(plain));
}

#[test]
fn an_agent_that_is_gone_is_said_above_what_was_known_of_it() {
    let mut model = model();
    model.lose("no agent answers at /x: there is no such socket".to_owned(), at("20:42:08"));
    let screen = text(&screen(&mut model, 80, 24));
    let wanted =
        "NO ANSWER for 12 s: there is no such socket; no agent answers at /x; trying again";
    assert!(screen.starts_with(&wanted[..70]), "{screen}");
    assert!(screen.contains("backup"));
}

#[test]
fn what_is_cut_says_so_and_has_its_cause_first() {
    let mut model = model();
    let mut down = status(100.0);
    let plugin = down.plugins.get_mut("backup").unwrap();
    plugin.state = "backing_off".to_owned();
    plugin.why = Some(
        "it ended twice in a row (exit 1); backing off until 20:43:00; its last words: 日本語 no table"
            .to_owned(),
    );
    plugin.next_run = None;
    plugin.life = Some(
        serde_json::from_value(serde_json::json!({
            "pid": null, "since": null, "starts": 2, "failures": 2,
            "next_start": "2026-11-22T20:42:50.000Z", "last_end": {"kind": "exited", "code": 1},
            "ended": null, "stderr": "", "silent": false,
        }))
        .unwrap(),
    );
    down.plugins.retain(|name, _| name == "backup");
    down.plugins.insert(
        "own".to_owned(),
        PluginStatus { state: "built-in".to_owned(), ..PluginStatus::default() },
    );
    model.take(down, at("20:42:20"));
    let seen = text(&screen(&mut model, 60, 16));
    assert!(seen.contains("1 plugin: 1 odd"), "{seen}");
    let row = seen.lines().find(|line| line.starts_with("backup  back-off")).unwrap();
    // When it is started again; and how long its reports are says nothing.
    assert_eq!(row.split_whitespace().nth(4), Some("30s"), "{row}");
    assert!(!row.contains("20ms"), "{row}");
    let foot = seen.lines().nth(14).unwrap();
    assert!(foot.starts_with("backup back-off: 日"), "{foot}");
    assert!(foot.ends_with('…'), "{foot}");
    // No wide letter is cut in half.
    for width in 1..60 {
        let buffer = screen(&mut model, width, 16);
        let foot: Vec<&str> = (0..width).map(|x| buffer[(x, 14)].symbol()).collect();
        assert_eq!(foot.last(), Some(&"…"), "{width}");
        assert!(width < 2 || text::width(foot[usize::from(width) - 2]) < 2, "{width}");
    }
}

#[test]
fn once_everything_is_printed_and_no_row_is_left_out() {
    let mut model = Model::new();
    let mut many = status(100.0);
    let plugin = many.plugins["slow"].clone();
    many.plugins = (0..500).map(|n| (format!("plugin_{n:03}"), plugin.clone())).collect();
    model.take(many, at("20:42:20"));
    for columns in [None, Some(40), Some(80)] {
        let lines = plain(&mut model, at("20:42:20"), columns);
        assert_eq!(lines.iter().filter(|line| line.starts_with("plugin_")).count(), 500);
        assert!(lines.iter().all(|line| line.trim_end() == line));
    }
}
