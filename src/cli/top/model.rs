//! What `talaia top` knows and what is chosen in it. No clock, no terminal, no agent: it is told what
//! was answered and what was typed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use crate::agent::status::{PluginDetail, PluginStatus, ShownValue, Status};
use crate::model::{Outcome, Timestamp, Value};

use super::super::health;

/// Over how many seconds rates are taken: uploads come in bursts.
const WINDOW: f64 = 60.0;
/// Values of a metric that are kept for its sparkline.
const VALUES: usize = 200;

/// A column of the table, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Plugin,
    Status,
    Exit,
    Next,
    Running,
    P50,
    P99,
    Cpu,
    Rss,
    Refused,
    Accepted,
}

impl Column {
    pub(crate) const ALL: [Self; 11] = [
        Self::Plugin,
        Self::Status,
        Self::Exit,
        Self::Next,
        Self::Running,
        Self::P50,
        Self::P99,
        Self::Cpu,
        Self::Rss,
        Self::Refused,
        Self::Accepted,
    ];

    /// Its neighbour, around the ends.
    fn beside(self, step: usize) -> Self {
        let at = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Self::ALL[(at + step) % Self::ALL.len()]
    }
}

/// What fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Table,
    /// The selected plugin at length.
    Plugin,
    Help,
}

/// What a key asks for that the model cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Quit,
    /// Run this plugin now.
    Trigger(String),
}

/// A key, as far as it means anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) status: Option<Status>,
    pub(crate) detail: Option<PluginDetail>,
    /// Values of the metrics of the plugin of `detail`, by name, the newest last.
    pub(crate) values: BTreeMap<String, Vec<f64>>,
    /// Which run the newest of them are of.
    values_of: Option<(String, Timestamp)>,
    pub(crate) sort: Column,
    pub(crate) reversed: bool,
    pub(crate) filter: String,
    /// The filter is being typed.
    pub(crate) typing: bool,
    /// Since when nothing changes any more.
    pub(crate) paused: Option<Timestamp>,
    pub(crate) page: Page,
    /// `None`: the first row, whichever that is.
    selected: Option<String>,
    /// The first row, or line of a page, that is seen.
    pub(crate) offset: usize,
    pub(crate) scroll: usize,
    /// Rows of the table that are seen at once; told by the view.
    pub(crate) height: usize,
    /// What came of the last wish, and when that was.
    pub(crate) note: Option<(Timestamp, String)>,
    /// Why the agent does not answer, and since when.
    pub(crate) lost: Option<(Timestamp, String)>,
    /// The agent's CPU seconds, and what each output has delivered, at its age.
    cpu: VecDeque<(f64, f64)>,
    delivered: BTreeMap<String, VecDeque<(f64, f64)>>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            status: None,
            detail: None,
            values: BTreeMap::new(),
            values_of: None,
            sort: Column::Status,
            reversed: false,
            filter: String::new(),
            typing: false,
            paused: None,
            page: Page::Table,
            selected: None,
            offset: 0,
            scroll: 0,
            height: 10,
            note: None,
            lost: None,
            cpu: VecDeque::new(),
            delivered: BTreeMap::new(),
        }
    }

    /// The agent has answered.
    pub(crate) fn take(&mut self, status: Status, now: Timestamp) {
        let agent = &status.agent;
        if let Some(before) = &self.status
            && before.agent.started != agent.started
        {
            self.cpu.clear();
            self.delivered.clear();
            let pid = agent.pid;
            self.note = Some((now, format!("the agent was started again, as process {pid}")));
        }
        if let Some(cpu) = agent.cpu {
            note(&mut self.cpu, agent.uptime, cpu);
        }
        self.delivered.retain(|name, _| status.outputs.contains_key(name));
        for (name, output) in &status.outputs {
            let seen = self.delivered.entry(name.clone()).or_default();
            note(seen, agent.uptime, output.delivered as f64);
        }
        self.lost = None;
        self.status = Some(status);
    }

    /// The agent has said all that it knows of the selected plugin.
    pub(crate) fn take_detail(&mut self, detail: Option<PluginDetail>) {
        let Some(detail) = detail.filter(|detail| self.selected().as_ref() == Some(&detail.plugin))
        else {
            self.detail = None;
            return;
        };
        let last = self.status.as_ref().and_then(|s| s.plugins.get(&detail.plugin)?.last.as_ref());
        if let Some(run) = last.map(|last| (detail.plugin.clone(), last.started))
            && self.values_of.as_ref() != Some(&run)
        {
            if self.values_of.as_ref().is_none_or(|(plugin, _)| *plugin != detail.plugin) {
                self.values.clear();
            }
            for ShownValue { name, value, .. } in &detail.values {
                let Some(value) = number(value) else { continue };
                let values = self.values.entry(name.clone()).or_default();
                values.push(value);
                values.drain(..values.len().saturating_sub(VALUES));
            }
            self.values_of = Some(run);
        }
        self.detail = Some(detail);
    }

    /// Whether a plugin's page is open of which nothing is known: that is asked for even while
    /// nothing else is to change.
    pub(crate) fn lacks_detail(&self) -> bool {
        let known = self.detail.as_ref().map(|known| known.plugin.as_str());
        self.page == Page::Plugin && known != self.selected().as_deref()
    }

    /// The agent does not answer.
    pub(crate) fn lose(&mut self, why: String, now: Timestamp) {
        let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
        self.lost = Some((since, why));
    }

    /// The time that is shown: it stands still while all else does.
    pub(crate) fn now(&self, now: Timestamp) -> Timestamp {
        self.paused.unwrap_or(now)
    }

    /// The agent's part of one processor of late, from 0 to 1; since its start where nothing is
    /// known yet.
    pub(crate) fn cpu(&self) -> Option<f64> {
        let agent = &self.status.as_ref()?.agent;
        rate(&self.cpu).or_else(|| Some(agent.cpu? / agent.uptime.max(1e-3)))
    }

    /// Records a second that an output has taken of late.
    pub(crate) fn delivery_rate(&self, output: &str) -> Option<f64> {
        rate(self.delivered.get(output)?)
    }

    /// The plugins that are shown, in their order.
    pub(crate) fn rows(&self) -> Vec<(&str, &PluginStatus)> {
        let Some(status) = &self.status else { return Vec::new() };
        let wanted = self.filter.to_lowercase();
        let fits = |name: &str, plugin: &PluginStatus| {
            name.to_lowercase().contains(&wanted) || health::plugin(plugin).1.contains(&wanted)
        };
        let all = status.plugins.iter().map(|(name, plugin)| (name.as_str(), plugin));
        let mut rows: Vec<_> = all.filter(|(name, plugin)| fits(name, plugin)).collect();
        rows.sort_by(|a, b| self.order(*a, *b));
        rows
    }

    fn order(&self, a: (&str, &PluginStatus), b: (&str, &PluginStatus)) -> Ordering {
        if self.sort == Column::Plugin {
            let by_name = a.0.cmp(b.0);
            return if self.reversed { by_name.reverse() } else { by_name };
        }
        let of = |plugin| weight(self.sort, plugin);
        let by_weight = match (of(a.1), of(b.1)) {
            (Some(a), Some(b)) if self.reversed => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            // What has no figure is last, whichever way.
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        by_weight.then_with(|| a.0.cmp(b.0))
    }

    /// The plugin that keys are about.
    pub(crate) fn selected(&self) -> Option<String> {
        let rows = self.rows();
        rows.get(self.cursor(&rows)).map(|(name, _)| (*name).to_owned())
    }

    /// Its row.
    pub(crate) fn cursor(&self, rows: &[(&str, &PluginStatus)]) -> usize {
        let selected = self.selected.as_deref();
        rows.iter().position(|(name, _)| Some(*name) == selected).unwrap_or(0)
    }

    /// Takes a key.
    pub(crate) fn press(&mut self, key: Key, now: Timestamp) -> Option<Wish> {
        if key == Key::Interrupt {
            return Some(Wish::Quit);
        }
        if self.typing {
            self.type_filter(key);
            return None;
        }
        match key {
            Key::Escape if self.page != Page::Table => self.open(Page::Table),
            Key::Escape if !self.filter.is_empty() => self.filter.clear(),
            Key::Escape | Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?' | 'h') if self.page == Page::Help => self.open(Page::Table),
            Key::Char('?' | 'h') => self.open(Page::Help),
            Key::Char('p' | ' ') => {
                self.paused = if self.paused.is_some() { None } else { Some(now) };
            }
            Key::Char('t') if self.page != Page::Help => {
                return self.selected().map(Wish::Trigger);
            }
            _ => match self.page {
                Page::Table => self.press_in_table(key),
                Page::Plugin | Page::Help => self.press_in_page(key),
            },
        }
        None
    }

    fn press_in_table(&mut self, key: Key) {
        let page = self.height.saturating_sub(1).max(1);
        match key {
            Key::Enter if self.selected().is_some() => self.open(Page::Plugin),
            Key::Char('/') => self.typing = true,
            Key::Char('s') | Key::Right => self.sort = self.sort.beside(1),
            Key::Char('S') | Key::Left => self.sort = self.sort.beside(Column::ALL.len() - 1),
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::PageUp => self.move_by(-(page as isize)),
            Key::PageDown => self.move_by(page as isize),
            // From here on the first row is selected, whichever that is.
            Key::Home | Key::Char('g') => self.selected = None,
            Key::End | Key::Char('G') => self.move_by(isize::MAX),
            _ => {}
        }
    }

    fn press_in_page(&mut self, key: Key) {
        match key {
            Key::Up | Key::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll = self.scroll.saturating_add(1),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(self.height),
            Key::PageDown => self.scroll = self.scroll.saturating_add(self.height),
            Key::Home | Key::Char('g') => self.scroll = 0,
            // The view knows where the page ends.
            Key::End | Key::Char('G') => self.scroll = usize::MAX,
            Key::Left if self.page == Page::Plugin => self.turn(-1),
            Key::Right if self.page == Page::Plugin => self.turn(1),
            Key::Enter => self.open(Page::Table),
            _ => {}
        }
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace if self.filter.pop().is_none() => self.typing = false,
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Enter => self.typing = false,
            Key::Up => self.move_by(-1),
            Key::Down => self.move_by(1),
            _ => {}
        }
    }

    fn open(&mut self, page: Page) {
        if page == Page::Plugin {
            // It stays the same one, whatever comes before it now.
            self.selected = self.selected();
        }
        self.page = page;
        self.scroll = 0;
    }

    /// The neighbour's page.
    fn turn(&mut self, step: isize) {
        self.move_by(step);
        self.open(Page::Plugin);
    }

    fn move_by(&mut self, step: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let at = self.cursor(&rows).saturating_add_signed(step).min(last);
        self.selected = rows.get(at).map(|(name, _)| (*name).to_owned());
    }
}

/// Where a plugin stands in a column's order; the least is first.
fn weight(column: Column, plugin: &PluginStatus) -> Option<f64> {
    let last = plugin.last.as_ref();
    let seconds = |time: Timestamp| time.millis() as f64 / 1e3;
    match column {
        Column::Plugin => None,
        Column::Status => Some(f64::from(health::plugin(plugin).0 as u8)),
        Column::Exit => last.map(|last| match last.outcome {
            Outcome::Exited { code: 0 } | Outcome::Answered => f64::INFINITY,
            Outcome::Exited { code } => f64::from(code),
            _ => 0.0,
        }),
        Column::Next => next(plugin).map(seconds),
        Column::Running => plugin.running_since.map(seconds),
        // The largest first.
        Column::P50 => took(plugin, plugin.duration_p50).map(|p50| -p50),
        Column::P99 => took(plugin, plugin.duration_p99).map(|p99| -p99),
        Column::Cpu => last.map(|last| -last.cpu),
        Column::Rss => last.and_then(|last| last.max_rss).map(|rss| -(rss as f64)),
        Column::Refused => Some(-(refused(plugin) as f64)),
        Column::Accepted => Some(-(plugin.accepted as f64)),
    }
}

/// When it runs next, or, while it is down, when it is started again.
pub(crate) fn next(plugin: &PluginStatus) -> Option<Timestamp> {
    plugin.next_run.or_else(|| plugin.life.as_ref()?.next_start)
}

/// A duration of its runs, where these have one of their own: the reports of a plugin that prints
/// when it likes are as long as the agent makes them.
pub(crate) fn took(plugin: &PluginStatus, seconds: Option<f64>) -> Option<f64> {
    let is_stream = plugin.life.is_some() && plugin.next_run.is_none();
    seconds.filter(|_| !is_stream)
}

/// All refused records of a plugin.
pub(crate) fn refused(plugin: &PluginStatus) -> u64 {
    plugin.rejected.values().fold(0, |sum, count| sum.saturating_add(*count))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Signed(n) => Some(*n as f64),
        Value::Unsigned(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        Value::Boolean(yes) => Some(f64::from(u8::from(*yes))),
        Value::Gap | Value::Text(_) => None,
    }
}

/// Adds what something has come to at an age, and forgets what is older than the window.
fn note(seen: &mut VecDeque<(f64, f64)>, age: f64, total: f64) {
    seen.push_back((age, total));
    while seen.len() > 2 && seen.front().is_some_and(|(first, _)| *first < age - WINDOW) {
        seen.pop_front();
    }
}

fn rate(seen: &VecDeque<(f64, f64)>) -> Option<f64> {
    let ((from, before), (to, after)) = (seen.front()?, seen.back()?);
    (to - from > 0.1).then(|| ((after - before) / (to - from)).max(0.0))
}

#[cfg(test)]
pub(super) mod tests;
