//! The log, on stderr.
//!
//! Where no terminal is read its lines have the form that they always had. On a terminal they stand
//! in the columns of run lines, folded instead of running on; what plugins say has their names, and
//! is not said again for a minute where it is the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::Timestamp;

use super::args::{LogFormat, Talk};
use super::print::{self, BAD, Background, FAINT, ODD, STRONG, paint};
use super::report::clean;
use super::text;

/// Lines that one event may take on a terminal. What a plugin says may be long.
const LINES: usize = 12;
const PLUGIN_LINES: usize = 2;
/// When a plugin that says the same over and over is heard again.
const AGAIN: Duration = Duration::from_secs(60);
/// Lines of plugins that are remembered for that.
const SAID: usize = 1000;

/// Sets it up.
pub(crate) fn init(talk: &Talk, stderr: &Background) {
    let level = match (talk.quiet, talk.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // Libraries talk only when everything is asked for.
    let others = if talk.verbose > 1 { LevelFilter::TRACE } else { LevelFilter::WARN };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("talaia", level)
        .with_target("plugin", level)
        .with_target("run", level)
        .with_default(others);
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr.clone()).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let done = match talk.log_format {
        LogFormat::Text if print::a_person_reads_stderr() => {
            let columns = Columns { all: talk.verbose > 0, said: Mutex::default() };
            registry.with(layer.event_format(columns)).try_init()
        }
        LogFormat::Text => {
            let layer = layer.with_timer(Clock).with_ansi(false);
            registry.with(layer.fmt_fields(debug_fn(field).delimited(" "))).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    // Set already: by a test in the same process.
    let _already = done;
}

/// A field of an event where no terminal is read: whoever looks later may have one.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = lines(&format!("{value:?}"));
    match field.name() {
        "message" => out.write_str(&value),
        name => write!(out, "{name}={value}"),
    }
}

/// Text that steers nothing, with the lines that it has.
fn lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// The time of day in UTC, as run lines have it: a journal adds its own date.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.write_str(&now())
    }
}

fn now() -> String {
    let now = Timestamp::from(std::time::SystemTime::now()).to_string();
    now.get(11..19).unwrap_or(&now).to_owned()
}

/// Events as a person reads them.
struct Columns {
    /// Whatever was said before.
    all: bool,
    /// What plugins said of late.
    said: Mutex<HashMap<(String, String), Instant>>,
}

impl Columns {
    /// Whether a plugin has said the same within the last minute.
    fn is_repeated(&self, plugin: &str, text: &str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let of_late = |at: &Instant| now.saturating_duration_since(*at) < AGAIN;
        if said.len() > SAID {
            said.retain(|_, at| of_late(at));
        }
        let key = (plugin.to_owned(), text.to_owned());
        if said.get(&key).is_some_and(of_late) {
            return true;
        }
        // Of who says ever something else, the rest is not remembered.
        if said.len() <= SAID {
            said.insert(key, now);
        }
        false
    }
}

impl<S, N> FormatEvent<S, N> for Columns
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let is_plugin = event.metadata().target() == "plugin";
        let plugin = said.fields.iter().find(|(key, _)| is_plugin && *key == "plugin");
        if let Some((_, plugin)) = plugin
            && !self.all
            && self.is_repeated(plugin, &said.message, Instant::now())
        {
            return Ok(());
        }
        let (style, word) = match *event.metadata().level() {
            Level::ERROR => (BAD, "error"),
            Level::WARN => (ODD, "warning"),
            Level::INFO if is_plugin => (FAINT, "stderr"),
            Level::INFO => (FAINT, "info"),
            _ => (FAINT, "debug"),
        };
        let text = text(is_plugin, said, print::stderr_width());
        write!(out, "{}  {}  ", paint(FAINT, now()), paint(style, format!("{word:<8}")))?;
        writeln!(out, "{text}")
    }
}

/// What stands after the clock and the word.
fn text(is_plugin: bool, said: Said, width: usize) -> String {
    let mut text = said.message;
    let mut name = None;
    for (key, value) in said.fields {
        if is_plugin && key == "plugin" {
            name = Some(value);
        } else {
            text.push_str(&format!("  {key}={value}"));
        }
    }
    let most = if is_plugin { PLUGIN_LINES } else { LINES };
    let indent = 20.min(width / 4);
    let whole = match &name {
        Some(name) => format!("{name} {text}"),
        None => text,
    };
    // What has lines of its own (a configuration that does not load) is laid out already.
    if whole.contains('\n') {
        return whole;
    }
    let mut lines: Vec<String> = text::wrap(&whole, width, indent).take(most + 1).collect();
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = text::cut(last, width.saturating_sub(2));
            last.push_str(" …");
        }
    }
    let mut joined = lines.join("\n").trim_start().to_owned();
    if let Some(name) = name.filter(|name| joined.starts_with(name)) {
        joined.replace_range(..name.len(), &paint(STRONG, &name));
    }
    joined
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = lines(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(plugin: Option<&str>, message: &str) -> Said {
        let fields = plugin.iter().map(|plugin| ("plugin", (*plugin).to_owned()));
        Said {
            message: message.to_owned(),
            fields: fields.chain([("n", "3".to_owned())]).collect(),
        }
    }

    #[test]
    fn a_plugin_that_repeats_itself_is_heard_once_a_minute() {
        let columns = Columns { all: false, said: Mutex::default() };
        let t0 = Instant::now();
        assert!(!columns.is_repeated("a", "no route", t0));
        assert!(columns.is_repeated("a", "no route", t0 + AGAIN / 2));
        assert!(!columns.is_repeated("a", "no host", t0 + AGAIN / 2));
        assert!(!columns.is_repeated("b", "no route", t0 + AGAIN / 2));
        assert!(!columns.is_repeated("a", "no route", t0 + AGAIN));
        // What is remembered does not grow for ever.
        for n in 0..3 * SAID {
            columns.is_repeated("a", &n.to_string(), t0);
        }
        assert!(columns.said.lock().unwrap().len() <= SAID + 1);
    }

    #[test]
    fn what_is_said_steers_no_terminal_in_either_form() {
        #[derive(Clone, Default)]
        struct Written(std::sync::Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let written = Written::default();
        let to = || {
            let written = written.clone();
            tracing_subscriber::fmt::layer().with_writer(move || written.clone())
        };
        let plain = to().with_ansi(false).fmt_fields(debug_fn(field).delimited(" "));
        let columns = to().event_format(Columns { all: true, said: Mutex::default() });
        let say = || tracing::warn!(path = %"a\u{202e}b", n = 3, "x\u{202e}y\u{1b}[2K\nz");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(plain), say);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(columns), say);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("x\\u{202e}y·[2K\nz").count(), 2, "{text}");
        assert_eq!(text.matches("path=a\\u{202e}b").count(), 2, "{text}");
        assert!(!text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn what_is_said_is_folded_and_what_plugins_say_is_cut() {
        let long = "word ".repeat(100);
        let seen = |text: &str| anstream::adapter::strip_str(text).to_string();
        let plugin = seen(&text(true, said(Some("disk"), &long), 60));
        let lines: Vec<&str> = plugin.lines().collect();
        assert_eq!(lines.len(), PLUGIN_LINES);
        assert!(lines[0].starts_with("disk word") && lines[1].ends_with(" …"), "{plugin}");
        assert!(lines[1].starts_with("               word"), "{plugin}");
        let agent = seen(&text(false, said(None, "stopping; once more to stop at once"), 80));
        assert_eq!(agent, "stopping; once more to stop at once n=3");
    }
}
