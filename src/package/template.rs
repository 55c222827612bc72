//! New plugins to begin with, one for each language.
//!
//! Pure: what is in the files, not where they go. The texts are those in `templates/`.

use std::fmt;
use std::str::FromStr;

use crate::config::MANIFEST;
use crate::model::PackageName;

/// A language that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// POSIX shell.
    Sh,
    /// Bash.
    Bash,
    /// Python 3.
    Python,
    /// JavaScript on Node.js.
    Node,
    /// Perl 5.
    Perl,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Go.
    Go,
    /// Rust.
    Rust,
}

/// The text is none of the languages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no template for `{word}`; {hint}")]
pub struct UnknownLanguage {
    word: String,
    /// Which one was meant, or which there are.
    hint: String,
}

/// Other words for some of them.
const ALIASES: [(&str, Language); 12] = [
    ("shell", Language::Sh),
    ("posix", Language::Sh),
    ("py", Language::Python),
    ("python3", Language::Python),
    ("js", Language::Node),
    ("javascript", Language::Node),
    ("nodejs", Language::Node),
    ("pl", Language::Perl),
    ("perl5", Language::Perl),
    ("rb", Language::Ruby),
    ("golang", Language::Go),
    ("rs", Language::Rust),
];

/// Whether a file of a template is to be executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// 0755
    Executable,
    /// 0644
    Plain,
}

impl FileMode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Executable => 0o755,
            Self::Plain => 0o644,
        }
    }
}

/// One file of a new plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Its name in the plugin's folder.
    pub path: String,
    /// Its permissions.
    pub mode: FileMode,
    /// What is in it.
    pub text: String,
}

const MANIFEST_TEXT: &str = include_str!("../../templates/manifest.toml");
const CASE: &str = include_str!("../../templates/case.toml");
const RECORDS: &str = include_str!("../../templates/case.json");
const README: &str = include_str!("../../templates/README.md");

impl Language {
    /// Every language.
    pub const ALL: [Self; 9] = [
        Self::Sh,
        Self::Bash,
        Self::Python,
        Self::Node,
        Self::Perl,
        Self::Ruby,
        Self::Php,
        Self::Go,
        Self::Rust,
    ];

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Python => "python",
            Self::Node => "node",
            Self::Perl => "perl",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Go => "go",
            Self::Rust => "rust",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sh => "POSIX shell",
            Self::Bash => "Bash",
            Self::Python => "Python",
            Self::Node => "JavaScript (Node.js)",
            Self::Perl => "Perl",
            Self::Ruby => "Ruby",
            Self::Php => "PHP",
            Self::Go => "Go",
            Self::Rust => "Rust",
        }
    }

    /// What has to be installed to run its scripts; compiled ones can be taken along.
    fn interpreter(self) -> Option<&'static str> {
        match self {
            Self::Sh | Self::Go | Self::Rust => None,
            Self::Python => Some("python3"),
            other => Some(other.as_str()),
        }
    }

    /// What is executed.
    fn program(self) -> &'static str {
        match self {
            Self::Sh => include_str!("../../templates/sh/plugin"),
            Self::Bash => include_str!("../../templates/bash/plugin"),
            Self::Python => include_str!("../../templates/python/plugin"),
            Self::Node => include_str!("../../templates/node/plugin"),
            Self::Perl => include_str!("../../templates/perl/plugin"),
            Self::Ruby => include_str!("../../templates/ruby/plugin"),
            Self::Php => include_str!("../../templates/php/plugin"),
            Self::Go => include_str!("../../templates/go/plugin"),
            Self::Rust => include_str!("../../templates/rust/plugin"),
        }
    }

    /// The source file of a compiled language: its name and what is in it.
    fn source(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Go => Some(("main.go", include_str!("../../templates/go/main.go"))),
            Self::Rust => Some(("main.rs", include_str!("../../templates/rust/main.rs"))),
            _ => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(word: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL
            .into_iter()
            .find(|language| language.as_str() == word)
            .ok_or_else(|| UnknownLanguage { word: word.to_owned(), hint: hint(word) })
    }
}

/// Which language was meant by another word, or which there are.
fn hint(word: &str) -> String {
    let lower = word.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, language)| *language);
    let names: Vec<&str> = Language::ALL.iter().map(|language| language.as_str()).collect();
    let meant = alias.map(Language::as_str).or_else(|| crate::config::nearest(&lower, &names));
    meant.map_or_else(
        || format!("choose one of {}", names.join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    )
}

/// The files of a new package of one plugin, for a folder named as the package. The first is its
/// executable, named as the package as well.
pub fn template(name: &PackageName, language: Language) -> Vec<TemplateFile> {
    let source = language.source();
    let main = source.map_or(name.as_str(), |(file, _)| file);
    // A compiler takes longer than a run may, on a slow machine.
    let timeout = source.map_or("", |_| "\ntimeout = \"55s\"           # the first run compiles");
    let note = source.map_or_else(String::new, |(file, _)| {
        format!(
            "\n`{name}` is a script that compiles `{file}` into the plugin's state folder when it has changed,\n\
             then becomes the program. The first run takes some seconds for that. For hosts without the\n\
             compiler, `./{name}/{name} --build` puts the program beside it, to be copied along.\n"
        )
    });
    let interpreter = language.interpreter().map_or_else(String::new, |word| format!("\"{word}\""));
    let fill = |text: &str| {
        text.replace("{{main}}", main)
            .replace("{{language}}", language.title())
            .replace("{{timeout}}", timeout)
            .replace("{{interpreter}}", &interpreter)
            .replace("{{note}}\n", &note)
            .replace("{{name}}", name.as_str())
    };
    let plain =
        |path: String, text: &str| TemplateFile { path, mode: FileMode::Plain, text: fill(text) };
    let mut files = vec![TemplateFile {
        path: name.to_string(),
        mode: FileMode::Executable,
        text: fill(language.program()),
    }];
    if let Some((file, text)) = source {
        files.push(plain(file.to_owned(), text));
    }
    for (path, text) in [
        (MANIFEST, MANIFEST_TEXT),
        ("README.md", README),
        ("tests/folder.toml", CASE),
        ("tests/folder.json", RECORDS),
        // What the case looks at.
        ("tests/folder/one", "1\n"),
        ("tests/folder/two", "2\n"),
    ] {
        files.push(plain(path.to_owned(), text));
    }
    files
}
