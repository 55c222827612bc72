//! What resolving a setting may look at, and the small rules that several tables share.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Sources};
use super::env::Env;
use super::files;
use super::node::Place;
use super::read::{At, Found, Span, Table};
use crate::model::{Tags, limits};

/// Longest duration that a setting may have.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// The surroundings of one load.
pub(super) struct Cx<'a> {
    pub(super) env: &'a Env,
    pub(super) sources: Sources,
    pub(super) found: Found,
}

impl Cx<'_> {
    /// The folder of the file in which `place` is: what relative paths there are relative to.
    pub(super) fn base(&self, place: &Place) -> PathBuf {
        self.sources.path(place).parent().map(PathBuf::from).unwrap_or_default()
    }

    /// A path as written somewhere, made absolute.
    pub(super) fn path(&mut self, path: &At<String>) -> PathBuf {
        if path.value.is_empty() || path.value.contains('\0') {
            self.error("this is not a path", &path.place);
        }
        self.base(&path.place).join(&path.value)
    }

    /// A path that must name a file that can be read now.
    pub(super) fn readable(&mut self, path: &At<String>) -> PathBuf {
        let full = self.path(path);
        if let Err(e) = files::open(&full) {
            self.error(format!("cannot read `{}`: {e}", full.display()), &path.place);
        }
        full
    }

    pub(super) fn error(&mut self, message: impl Into<String>, place: &Place) {
        self.found.push(Diagnostic::error(message).at(place));
    }

    /// A duration of at least `least`, or `default`.
    pub(super) fn duration(
        &mut self,
        written: Option<&At<Span>>,
        least: Duration,
        default: Duration,
    ) -> Duration {
        self.duration_within(written, least..=LONGEST, default)
    }

    /// A duration in `range`, or `default`.
    pub(super) fn duration_within(
        &mut self,
        written: Option<&At<Span>>,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(At { value: Span(duration), place }) = written else { return default };
        if range.contains(duration) {
            return *duration;
        }
        let short = duration < range.start();
        let bound = if short { range.start() } else { range.end() };
        let shown = if *bound == LONGEST {
            "366 days".to_owned()
        } else {
            humantime::format_duration(*bound).to_string()
        };
        self.found.push(
            Diagnostic::error(format!(
                "this duration is too {}",
                if short { "short" } else { "long" }
            ))
            .at(place)
            .label(format!("at {} {shown}", if short { "least" } else { "most" })),
        );
        default
    }

    /// A count of at least 1, or `default`.
    pub(super) fn count(&mut self, written: Option<&At<u32>>, default: usize) -> usize {
        match written {
            None => default,
            Some(At { value: 0, place }) => {
                self.error("this must be at least 1", place);
                default
            }
            Some(At { value, .. }) => *value as usize,
        }
    }

    /// Tags, within the limits of the protocol.
    pub(super) fn tags(&mut self, written: Option<&At<Table<At<String>>>>) -> Tags {
        let mut tags = Tags::new();
        let Some(At { value: Table(pairs), place }) = written else { return tags };
        for pair in pairs {
            if pair.name.is_empty() || pair.name.len() > limits::TAG_KEY {
                let message = format!("a tag's key has 1 to {} bytes", limits::TAG_KEY);
                self.error(message, &pair.place);
            }
            if pair.value.value.len() > limits::TAG_VALUE {
                let message = format!("a tag's value has at most {} bytes", limits::TAG_VALUE);
                self.error(message, &pair.value.place);
            }
            tags.insert(&pair.name, &pair.value.value);
        }
        if tags.len() > limits::TAGS {
            self.error(format!("there may be at most {} tags", limits::TAGS), place);
        }
        tags
    }

    /// Says that two settings cannot go together.
    pub(super) fn contradiction(&mut self, message: &str, one: &Place, other: &Place, help: &str) {
        self.found.push(
            Diagnostic::error(message).at(one).label("this").also(other, "and this").help(help),
        );
    }
}
