//! Draws a model. It is told the time, and keeps nothing but where the rows begin.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::agent::status::{OutputStatus, PluginStatus, Status};
use crate::model::Timestamp;

use super::super::health::{self, Care};
use super::super::report::clean;
use super::super::{brief, text};
use super::model::{Column, Model, Page, next, refused, took};
use super::page;
use super::theme::{FAINT, STRONG, TURNED, Theme};

/// How long what came of a wish is shown, in milliseconds.
const NOTE: i64 = 5000;

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &mut Model, theme: Theme, now: Timestamp) {
    let area = frame.area();
    if area.height == 0 || area.width == 0 {
        return;
    }
    let shown = model.now(now);
    let buffer = frame.buffer_mut();
    let lines = head(model, theme, shown, area);
    let mut top = 0;
    for line in lines.iter().take(usize::from(area.height) - 1) {
        top = put(buffer, area, top, line);
    }
    // The last line is for keys, and a page stands by itself where there is room.
    let bottom = area.height.saturating_sub(1);
    let gap = u16::from(model.page != Page::Table && area.height > 12);
    let y = top + gap;
    let middle = Rect { y, height: bottom.saturating_sub(y), ..area };
    match model.page {
        Page::Table => table(buffer, model, theme, shown, middle),
        Page::Plugin => {
            let lines = page::plugin(model, theme, shown, usize::from(area.width));
            scrolled(buffer, model, &lines, middle);
        }
        Page::Help => scrolled(buffer, model, &page::help(), middle),
    }
    let (line, cursor) = foot(model, theme, now, usize::from(area.width));
    put(buffer, area, bottom, &line);
    if let Some(column) = cursor {
        frame.set_cursor_position(Position { x: column.min(area.width - 1), y: bottom });
    }
}

/// The table as lines of plain text, all of its rows.
pub(crate) fn plain(model: &mut Model, now: Timestamp, columns: Option<u16>) -> Vec<String> {
    let theme = Theme { colours: false };
    let rows = model.rows().len();
    let outputs = model.status.as_ref().map_or(0, |status| status.outputs.len());
    // An output may have a second line for its error.
    let height = u16::try_from(rows + 2 * outputs + 6).unwrap_or(u16::MAX);
    let names = model.rows().iter().map(|(name, _)| text::width(name)).max().unwrap_or(0);
    let all = COLUMNS.iter().map(|column| column.width + 1).sum::<usize>() + names + 40;
    let width = columns.unwrap_or_else(|| u16::try_from(all.max(100)).unwrap_or(u16::MAX));
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let mut top = 0;
    for line in head(model, theme, now, Rect { height: u16::MAX, ..area }) {
        top = put(&mut buffer, area, top, &line);
    }
    let area = Rect { y: top, height: height - top, ..area };
    model.height = rows + 1;
    let rows = model.rows();
    let layout = layout(&rows, usize::from(width));
    put(&mut buffer, area, top, &titles(model, &layout));
    for (n, (name, plugin)) in (1..).zip(&rows) {
        put(&mut buffer, area, top + n, &row(name, plugin, &layout, theme, now));
    }
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    let mut lines: Vec<String> = (0..buffer.area.height).map(line).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Writes a line, and gives the next one's place. What is cut ends in `…`.
fn put(buffer: &mut Buffer, area: Rect, y: u16, line: &Line<'_>) -> u16 {
    if y < buffer.area.height && area.width > 0 {
        buffer.set_line(area.x, y, line, area.width);
        if line.width() > usize::from(area.width) {
            let last = area.x + area.width - 1;
            // The sign takes no half of a wide letter.
            if last > area.x && text::width(buffer[(last - 1, y)].symbol()) > 1 {
                buffer[(last - 1, y)].set_symbol(" ");
            }
            buffer[(last, y)].set_symbol("…");
        }
    }
    y + 1
}

/// What is known of the agent and its outputs.
fn head(model: &Model, theme: Theme, now: Timestamp, area: Rect) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some((since, why)) = &model.lost {
        let seconds = (now.millis() - since.millis()).max(0) / 1000;
        let first = why.lines().next().unwrap_or_default();
        // The cause, which comes last, is what has to be read on a narrow screen.
        let (what, cause) = first.rsplit_once(": ").unwrap_or(("", first));
        let what = if what.is_empty() { String::new() } else { format!("; {what}") };
        let what = clean(&format!("NO ANSWER for {seconds} s: {cause}{what}; trying again"));
        lines.push(Line::styled(what, theme.of(Care::Bad).patch(TURNED)));
    }
    let Some(status) = &model.status else {
        if lines.is_empty() {
            lines.push(Line::styled("asking the agent …", FAINT));
        }
        return lines;
    };
    let agent = &status.agent;
    let mut first = Vec::new();
    if model.paused.is_some() {
        first.push(Span::styled(" PAUSED ", TURNED));
        first.push(Span::raw(" "));
    }
    first.extend([
        Span::styled(format!("talaia {}", agent.version), STRONG),
        Span::raw(format!(" on {}  up {}  ", clean(&agent.host), brief::seconds(agent.uptime))),
    ]);
    first.extend(numbers(status, theme));
    lines.push(Line::from(first));
    lines.push(Line::from(figures(model, status, theme)));
    if let Some(why) = &agent.spool_error {
        lines.push(Line::styled(
            format!("the spool cannot be written: {}", clean(why)),
            theme.of(Care::Bad),
        ));
    }
    // Those in trouble first; of very many not all.
    let mut outputs: Vec<_> = status.outputs.iter().collect();
    outputs.sort_by_key(|(_, output)| health::output(output));
    let most = usize::from(area.height / 6).max(1);
    let name = outputs.iter().map(|(name, _)| text::width(name)).max().unwrap_or(0).min(16);
    for (at, (output, facts)) in outputs.iter().enumerate() {
        if at + 1 == most && outputs.len() > most {
            lines.push(Line::styled(format!("… and {} more outputs", outputs.len() - at), FAINT));
            break;
        }
        let rate = model.delivery_rate(output);
        let mut line = self::output(&text::pad(&clean(output), name), facts, rate, theme);
        if let Some(error) = &facts.error {
            let error = Span::styled(clean(error), theme.of(health::output(facts)));
            let wide = line.width() + error.width() + 2 > usize::from(area.width);
            // What is wrong is to be read, where there is a line for it.
            if wide && area.height >= 20 {
                lines.push(line);
                line = Line::from("    ");
            } else {
                line.push_span("  ");
            }
            line.push_span(error);
        }
        lines.push(line);
    }
    lines
}

/// How many plugins fare how.
fn numbers(status: &Status, theme: Theme) -> Vec<Span<'static>> {
    let mut of = [0_usize; 4];
    for plugin in status.plugins.values().filter(|plugin| health::is_configured(plugin)) {
        of[health::plugin(plugin).0 as usize] += 1;
    }
    let total: usize = of.iter().sum();
    let mut spans =
        vec![Span::raw(format!("{total} plugin{}:", if total == 1 { "" } else { "s" }))];
    let words =
        [(Care::Bad, "failing"), (Care::Odd, "odd"), (Care::Good, "ok"), (Care::Idle, "idle")];
    for (care, word) in words {
        let n = of[care as usize];
        if n > 0 {
            spans.push(Span::raw(" "));
            spans.push(Span::styled(format!("{n} {word}"), theme.of(care)));
        }
    }
    spans
}

fn figures(model: &Model, status: &Status, theme: Theme) -> Vec<Span<'static>> {
    let agent = &status.agent;
    let mut spans = Vec::new();
    let mut figure = |name: &str, value: String, care: Option<Care>| {
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        spans.push(Span::styled(format!("{name} "), FAINT));
        spans.push(Span::styled(value, care.map_or(Style::new(), |care| theme.of(care))));
    };
    figure("running", agent.running.to_string(), None);
    if let Some(cpu) = model.cpu() {
        figure("cpu", format!("{:.1}%", cpu * 100.0), None);
    }
    if let Some(rss) = agent.rss {
        figure("mem", brief::bytes(rss), None);
    }
    if let Some(lag) = agent.lag_p99 {
        figure("start lag p99", brief::seconds(lag), (lag >= 1.0).then_some(Care::Odd));
    }
    figure("spool", brief::bytes(agent.spool_bytes), None);
    figure("quarantine", brief::count(agent.quarantine_items), None);
    if agent.overflowed > 0 {
        figure("lost", brief::count(agent.overflowed), Some(Care::Bad));
    }
    if status.leaks > 0 {
        figure("leaks", status.leaks.to_string(), Some(Care::Bad));
    }
    spans
}

/// One output, in a line.
fn output(name: &str, output: &OutputStatus, rate: Option<f64>, theme: Theme) -> Line<'static> {
    let style = theme.of(health::output(output));
    let mut spans = vec![
        Span::styled("→ ", FAINT),
        Span::raw(name.to_owned()),
        Span::raw("  "),
        Span::styled(format!("{:<7}", clean(&output.state)), style),
        Span::raw(format!(" delivered {}", brief::count(output.delivered))),
    ];
    if let Some(rate) = rate {
        spans.push(Span::raw(format!(" ({rate:.1}/s)")));
    }
    spans.push(Span::raw(format!("  waiting {}", brief::count(output.spooled))));
    if output.spooled > 0 && output.oldest_age >= 1.0 {
        spans.push(Span::raw(format!(" for {}", brief::seconds(output.oldest_age))));
    }
    let lost: u64 = output.evicted.values().fold(0, |sum, n| sum.saturating_add(*n));
    if lost > 0 {
        spans.push(Span::styled(format!("  lost {}", brief::count(lost)), theme.of(Care::Bad)));
    }
    Line::from(spans)
}

/// A column as it is drawn.
struct Shape {
    column: Column,
    title: &'static str,
    width: usize,
    /// Those with the least go first where there is no room.
    rank: u8,
}

const fn shape(column: Column, title: &'static str, width: usize, rank: u8) -> Shape {
    Shape { column, title, width, rank }
}

/// All but the name.
const COLUMNS: [Shape; 10] = [
    shape(Column::Status, "STATUS", 8, 10),
    shape(Column::Exit, "EXIT", 8, 8),
    shape(Column::Next, "NEXT", 5, 9),
    shape(Column::Running, "RUN", 5, 5),
    shape(Column::P50, "P50", 5, 3),
    shape(Column::P99, "P99", 5, 7),
    shape(Column::Cpu, "CPU", 5, 2),
    shape(Column::Rss, "RSS", 4, 4),
    shape(Column::Refused, "REFUS", 5, 6),
    shape(Column::Accepted, "ACCPT", 5, 1),
];

/// What the name has at least, where it is as long as that.
const NAME: usize = 14;

/// The least room for what plugins say.
const SAYS: usize = 16;

/// What there is room for.
struct Layout {
    /// The name's columns.
    name: usize,
    columns: Vec<&'static Shape>,
    /// What the plugin says has what is left; 0 where that is too little.
    says: usize,
}

fn layout(rows: &[(&str, &PluginStatus)], width: usize) -> Layout {
    let longest = rows.iter().map(|(name, _)| text::width(name)).max().unwrap_or(0).max(7);
    let mut columns: Vec<&Shape> = COLUMNS.iter().collect();
    let taken = |columns: &[&Shape]| columns.iter().map(|shape| shape.width + 1).sum::<usize>();
    while taken(&columns) + longest.min(NAME) > width {
        let Some(least) = (0..columns.len()).min_by_key(|at| columns[*at].rank) else { break };
        columns.remove(least);
    }
    let name = longest.min(width.saturating_sub(taken(&columns)));
    let rest = width.saturating_sub(name + taken(&columns) + 2);
    Layout { name, columns, says: if rest >= SAYS { rest } else { 0 } }
}

fn titles(model: &Model, layout: &Layout) -> Line<'static> {
    let mark = if model.reversed { '▲' } else { '▼' };
    let title = |column: Column, title: &str, width: usize, left: bool| {
        let sorted = column == model.sort;
        // The mark stands, whatever it takes.
        let room = if sorted { width.saturating_sub(1) } else { width };
        let mut text: String = title.chars().take(room).collect();
        if sorted {
            text.push(mark);
        }
        let text = text::cut(&text, width);
        let space = " ".repeat(width - text::width(&text));
        let text = if left { text + &space } else { space + &text };
        Span::styled(text, if sorted { STRONG.add_modifier(Modifier::UNDERLINED) } else { STRONG })
    };
    let mut spans = vec![title(Column::Plugin, "PLUGIN", layout.name, true)];
    for shape in &layout.columns {
        spans.push(Span::raw(" "));
        let left = matches!(shape.column, Column::Status | Column::Exit);
        spans.push(title(shape.column, shape.title, shape.width, left));
    }
    if layout.says > 0 {
        spans.push(Span::styled("  SAYS", STRONG));
    }
    Line::from(spans)
}

fn row(
    name: &str,
    plugin: &PluginStatus,
    layout: &Layout,
    theme: Theme,
    now: Timestamp,
) -> Line<'static> {
    let mut spans = vec![Span::raw(text::pad(&clean(name), layout.name))];
    for shape in &layout.columns {
        let (cell, style) = cell(shape.column, plugin, theme, now);
        let cell = text::cut(&cell, shape.width);
        let space = " ".repeat(shape.width - text::width(&cell));
        let left = matches!(shape.column, Column::Status | Column::Exit);
        let cell = if left { cell + &space } else { space + &cell };
        spans.push(Span::raw(" "));
        spans.push(Span::styled(cell, style));
    }
    let message = plugin.last.as_ref().and_then(|last| last.message.as_ref());
    if let Some(says) = plugin.why.as_ref().or(message)
        && layout.says > 0
    {
        spans.push(Span::raw("  "));
        spans.push(Span::raw(text::cut(&clean(says), layout.says)));
    }
    Line::from(spans)
}

fn cell(column: Column, plugin: &PluginStatus, theme: Theme, now: Timestamp) -> (String, Style) {
    let last = plugin.last.as_ref();
    let dash = || "-".to_owned();
    let seconds = |seconds: Option<f64>| seconds.map_or_else(dash, brief::seconds);
    let since = |at: Timestamp| (now.millis() - at.millis()) as f64 / 1e3;
    let plain = Style::new();
    match column {
        Column::Plugin => (String::new(), plain),
        Column::Status => {
            let (care, word) = health::plugin(plugin);
            (word.to_owned(), theme.of(care))
        }
        Column::Exit => {
            let failed = last.is_some_and(|last| !last.outcome.is_ok());
            (health::ending(plugin), if failed { theme.of(Care::Bad) } else { plain })
        }
        Column::Next => {
            let next = next(plugin).map(|at| brief::countdown(-since(at)));
            (next.unwrap_or_else(dash), plain)
        }
        Column::Running => {
            let running = plugin.running_since.map(|at| brief::seconds(since(at).max(0.0)));
            (running.unwrap_or_else(dash), plain)
        }
        Column::P50 => (seconds(took(plugin, plugin.duration_p50)), plain),
        Column::P99 => (seconds(took(plugin, plugin.duration_p99)), plain),
        Column::Cpu => (seconds(last.map(|last| last.cpu)), plain),
        Column::Rss => {
            let rss = last.and_then(|last| last.max_rss);
            (rss.map_or_else(dash, brief::bytes), plain)
        }
        Column::Refused => {
            let n = refused(plugin);
            (brief::count(n), if n > 0 { theme.of(Care::Bad) } else { FAINT })
        }
        Column::Accepted => (brief::count(plugin.accepted), plain),
    }
}

/// The rows that fit, and below them what the selected plugin said last.
fn table(buffer: &mut Buffer, model: &mut Model, theme: Theme, now: Timestamp, area: Rect) {
    let room = usize::from(area.height).saturating_sub(2);
    model.height = room;
    let (offset, visible) = {
        let rows = model.rows();
        let cursor = model.cursor(&rows);
        let last = rows.len().saturating_sub(room);
        let least = (cursor + 1).saturating_sub(room);
        (model.offset.clamp(least.min(cursor), cursor.max(least)).min(last), rows.len())
    };
    model.offset = offset;
    let rows = model.rows();
    let cursor = model.cursor(&rows);
    let layout = layout(&rows, usize::from(area.width));
    let y = put(buffer, area, area.y, &titles(model, &layout));
    if visible == 0 && model.status.is_some() {
        let why = if model.filter.is_empty() { "no plugins" } else { "no plugin fits the filter" };
        put(buffer, area, y, &Line::styled(why, FAINT));
    }
    let seen = rows.iter().enumerate().skip(offset).take(room);
    for (y, (at, (name, plugin))) in (y..).zip(seen) {
        let line = row(name, plugin, &layout, theme, now);
        put(buffer, area, y, &line);
        if at == cursor {
            buffer.set_style(Rect { y, height: 1, ..area }, TURNED);
        }
    }
    if area.height < 3 {
        return;
    }
    let bottom = area.y + area.height - 1;
    if let Some((name, plugin)) = rows.get(cursor) {
        put(buffer, area, bottom, &page::last_word(name, plugin, model.detail.as_ref(), theme));
    }
}

/// A page that may be longer than the screen.
fn scrolled(buffer: &mut Buffer, model: &mut Model, lines: &[Line<'_>], area: Rect) {
    let room = usize::from(area.height);
    model.height = room;
    model.scroll = model.scroll.min(lines.len().saturating_sub(room));
    for (y, line) in (area.y..).zip(lines.iter().skip(model.scroll).take(room)) {
        put(buffer, area, y, line);
    }
}

/// Keys, or what is typed, or what came of it; and where the cursor stands.
fn foot(model: &Model, theme: Theme, now: Timestamp, width: usize) -> (Line<'static>, Option<u16>) {
    if model.typing {
        let text = format!("/{}", model.filter);
        let column = u16::try_from(text::width(&text)).unwrap_or(u16::MAX);
        let hint = Span::styled("   Enter keeps the filter, Esc drops it", FAINT);
        return (Line::from(vec![Span::styled(text, STRONG), hint]), Some(column));
    }
    if let Some((at, note)) = &model.note
        && now.millis() - at.millis() < NOTE
    {
        return (Line::styled(clean(note), theme.of(Care::Odd)), None);
    }
    let keys: &[(&str, &str)] = match model.page {
        Page::Table => &[
            ("q", "quit"),
            ("?", "help"),
            ("⏎", "open"),
            ("s", "sort"),
            ("r", "reverse"),
            ("/", "filter"),
            ("p", "pause"),
            ("t", "run now"),
        ],
        Page::Plugin => &[
            ("Esc", "back"),
            ("←→", "others"),
            ("↑↓", "scroll"),
            ("t", "run now"),
            ("p", "pause"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Help => &[("Esc", "back"), ("q", "quit")],
    };
    let mut spans = Vec::new();
    let mut taken = 0;
    // First, because it is what a person forgets.
    if model.page == Page::Table && !model.filter.is_empty() {
        let filter = format!("only /{} ", clean(&model.filter));
        taken = text::width(&filter);
        spans.push(Span::styled(filter, STRONG));
    }
    for (key, what) in keys {
        let wide = text::width(key) + text::width(what) + 4;
        if taken > 0 && taken + wide > width + 1 {
            break;
        }
        taken += wide;
        spans.push(Span::styled(format!(" {key} "), TURNED));
        spans.push(Span::raw(format!("{what} ")));
    }
    (Line::from(spans), None)
}

#[cfg(test)]
mod tests;
