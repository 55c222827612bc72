//! What is wrong with a config, and how it is shown.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::node::Place;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The config is not loaded.
    Error,
    /// One plugin cannot run; the rest does.
    Problem,
    /// Works, but probably not as meant.
    Warning,
}

/// One thing found in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// One line: what is wrong.
    pub message: String,
    /// A word or two at the place itself; may be empty.
    pub label: String,
    /// Where it was written, where it was written at all.
    pub place: Option<Place>,
    /// A second place that has to do with it, and what it is.
    pub also: Option<Box<(Place, String)>>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            label: String::new(),
            place: None,
            also: None,
            help: None,
        }
    }

    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    pub(super) fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn also(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.also = Some(Box::new((place.clone(), label.into())));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether a rendering is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

/// The files that were read, for showing a diagnostic at its line.
#[derive(Default, Clone)]
pub struct Sources(Vec<SourceFile>);

#[derive(Clone)]
struct SourceFile {
    path: PathBuf,
    /// The text, with what looks like a secret overwritten.
    text: String,
    /// Where each line but the first begins.
    lines: Vec<usize>,
}

// Only the paths: a secret in the wrong place may look like nothing in particular.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|file| &file.path)).finish()
    }
}

/// Most diagnostics that are shown in full; a person reads no more than that.
const SHOWN: usize = 100;

impl Sources {
    /// Keeps a file and gives its number.
    pub(super) fn add(&mut self, path: PathBuf, text: &str) -> usize {
        let lines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(n, _)| n + 1);
        self.0.push(SourceFile { path, text: masked(text), lines: lines.collect() });
        self.0.len() - 1
    }

    pub(super) fn path(&self, place: &Place) -> &PathBuf {
        &self.0[place.file].path
    }

    /// The path and line (from 1) of `place`.
    pub fn line(&self, place: &Place) -> (&PathBuf, usize) {
        let file = &self.0[place.file];
        (&file.path, 1 + file.lines.partition_point(|line| *line <= place.span.start))
    }

    /// Shows `diagnostics` like a compiler does, one after the other, with what looks like a
    /// secret blanked out.
    pub fn render(&self, diagnostics: &[Diagnostic], color: Color) -> String {
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled(),
        };
        let mut out = String::new();
        for (n, diagnostic) in diagnostics.iter().take(SHOWN).enumerate() {
            if n > 0 {
                out.push('\n');
            }
            out.push_str(&self.render_one(diagnostic, &renderer));
            out.push('\n');
        }
        if diagnostics.len() > SHOWN {
            let more = diagnostics.len() - SHOWN;
            out.extend(["\nand ", &more.to_string(), " more\n"]);
        }
        out
    }

    fn render_one(&self, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Problem => Level::WARNING.with_name("problem"),
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(clean(&diagnostic.message));
        let mut groups = Vec::new();
        let mut group = match &diagnostic.place {
            None => Group::with_title(title),
            Some(place) if self.0[place.file].text.is_empty() => {
                let group = title.element(annotate_snippets::Origin::path(self.shown(place)));
                match diagnostic.also.as_deref() {
                    Some((also, label)) => group.element(Level::NOTE.message(format!(
                        "{}: {}",
                        self.shown(also),
                        clean(label)
                    ))),
                    None => group,
                }
            }
            Some(place) => {
                let mut primary = AnnotationKind::Primary.span(self.clamp(place));
                if !diagnostic.label.is_empty() {
                    primary = primary.label(clean(&diagnostic.label));
                }
                let mut snippet = self.snippet(place).annotation(primary);
                let mut other = None;
                if let Some((also, label)) = diagnostic.also.as_deref() {
                    let mark = AnnotationKind::Context.span(self.clamp(also)).label(clean(label));
                    if also.file == place.file {
                        snippet = snippet.annotation(mark);
                    } else {
                        other = Some(self.snippet(also).annotation(mark));
                    }
                }
                let group = title.element(snippet);
                match other {
                    Some(other) => group.element(other),
                    None => group,
                }
            }
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(clean(help)));
        }
        groups.push(group);
        renderer.render(&groups)
    }

    fn shown(&self, place: &Place) -> String {
        clean(&self.path(place).display().to_string())
    }

    fn snippet(&self, place: &Place) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        Snippet::source(self.0[place.file].text.as_str()).path(self.shown(place))
    }

    /// The span, kept within the text and on whole characters.
    fn clamp(&self, place: &Place) -> std::ops::Range<usize> {
        let text = &self.0[place.file].text;
        let fit = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = fit(place.span.start);
        start..fit(place.span.end).max(start)
    }

    /// One line for a log: path, line and message.
    pub fn one_line(&self, diagnostic: &Diagnostic) -> String {
        let place = diagnostic.place.as_ref().map_or_else(String::new, |place| {
            let (path, line) = self.line(place);
            format!("{}:{line}: ", clean(&path.display().to_string()))
        });
        let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{place}{}{}", clean(&diagnostic.message), clean(&help))
    }
}

/// Control characters shown as escapes, so that a file name cannot write on the terminal.
fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// `text` with the strings that look like secrets overwritten by asterisks, byte for byte, so that
/// spans still fit: those assigned to a key that ends in `key`, or has `password`, `passwd`,
/// `secret` or `token` in its name. A path is left alone.
pub(super) fn masked(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        mask_line(line.as_bytes(), &mut out[start..start + line.len()]);
        start += line.len();
    }
    // Only whole runs of bytes between ASCII quotes were replaced, by ASCII.
    String::from_utf8(out).unwrap_or_default()
}

fn mask_line(line: &[u8], out: &mut [u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut at = 0;
    let mut word = 0..0;
    let mut assigned = false;
    while at < line.len() {
        let byte = line[at];
        let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if part(byte) {
            let start = at;
            while at < line.len() && part(line[at]) {
                at += 1;
            }
            word = start..at;
            assigned = false;
            continue;
        }
        if byte == b'"' || byte == b'\'' {
            let open = at + 1;
            at = open;
            while at < line.len() && line[at] != byte {
                at += if byte == b'"' && line[at] == b'\\' { 2 } else { 1 };
            }
            let close = at.min(line.len());
            if assigned && is_secret_key(&line[word.clone()]) && line.get(open) != Some(&b'/') {
                out[open..close].fill(b'*');
            } else if let Some(user) = user_in_url(&line[open..close]) {
                out[open + user.start..open + user.end].fill(b'*');
            }
            // A quoted key, as in JSON, or a value.
            word = if assigned { 0..0 } else { open..close };
            assigned = false;
            at += 1;
            continue;
        }
        assigned = match byte {
            b'=' | b':' => true,
            b' ' | b'\t' => assigned,
            _ => false,
        };
        at += 1;
    }
}

/// The user and password in an address.
fn user_in_url(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = text.windows(3).position(|w| w == b"://")? + 3;
    let host = text[start..].split(|b| b"/?#".contains(b)).next()?;
    let end = start + host.iter().rposition(|b| *b == b'@')?;
    Some(start..end)
}

fn is_secret_key(key: &[u8]) -> bool {
    let key = String::from_utf8_lossy(key).to_ascii_lowercase();
    key.ends_with("key")
        || key == "proxy"
        || ["password", "passwd", "secret", "token"].iter().any(|word| key.contains(word))
}

/// Why a config was not loaded: everything that is wrong with it, at once.
#[derive(Debug, Clone)]
pub struct LoadErrors {
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) sources: Sources,
}

impl LoadErrors {
    /// What was found, errors first, each kind in the order of the files.
    pub fn list(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The files that the places point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// How many errors there are, warnings left out.
    pub fn count(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Everything, with lines and carets.
    pub fn render(&self, color: Color) -> String {
        self.sources.render(&self.diagnostics, color)
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Color::Never).trim_end())
    }
}

impl std::error::Error for LoadErrors {}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_looks_like_a_secret_is_blanked() {
        assert_eq!(masked("key = \"abc\" # why"), "key = \"***\" # why");
        assert_eq!(masked("{\"key\": \"abc\"}"), "{\"key\": \"***\"}");
        assert_eq!(
            masked("a = { DB_PASSWORD = 'x y', b = 'c' }"),
            "a = { DB_PASSWORD = '***', b = 'c' }"
        );
        assert_eq!(masked("key = \"é\\\"z\nnext = \"1\""), "key = \"*****\nnext = \"1\"");
        assert_eq!(masked("cert_key = \"/etc/k.pem\""), "cert_key = \"/etc/k.pem\"");
        assert_eq!(masked("key = { env = \"TALAIA_KEY\" }"), "key = { env = \"TALAIA_KEY\" }");
        assert_eq!(masked("url = 'http://me:pw@hub/a@b'"), "url = 'http://*****@hub/a@b'");
        assert_eq!(masked("label = \"a key: \" "), "label = \"a key: \" ");
    }

    proptest::proptest! {
        #[test]
        fn masking_moves_nothing(text in "([a-z_]{1,4}[ =:]|key = |[\"'\\\\\n@/]|é|://|.){0,60}") {
            let shown = masked(&text);
            proptest::prop_assert_eq!(shown.len(), text.len());
            let breaks = |text: &str| -> Vec<usize> {
                text.match_indices('\n').map(|(at, _)| at).collect()
            };
            proptest::prop_assert_eq!(breaks(&shown), breaks(&text));
        }
    }
}
