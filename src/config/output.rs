//! Outputs: where reports go.

use std::path::PathBuf;
use std::time::Duration;

use super::agent::size;
use super::choices::{Compression, Start};
use super::diagnostic::Diagnostic;
use super::proxy::{self, Proxy};
use super::raw::{RawFile, RawOutput, RawTalaia};
use super::read::{At, Named};
use super::resolve::Cx;
use super::secrets;
use crate::model::{Secret, is_name, nearest_name};

/// The name of the output to the embedded hub, which no other output may have.
pub const EMBEDDED_OUTPUT: &str = "embedded";

/// Where reports go.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputConfig {
    /// To a hub.
    Talaia(TalaiaOutput),
    /// Into a file.
    File(FileOutput),
    /// To standard output.
    Stdout,
}

/// A hub.
#[derive(Debug, Clone, PartialEq)]
pub struct TalaiaOutput {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The account's key.
    pub key: Secret,
    /// Longest time that reports wait for company.
    pub interval: Duration,
    /// Longest time for one upload.
    pub timeout: Duration,
    /// How uploads are compressed.
    pub compression: Compression,
    /// A file of certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate.
    pub identity: Option<Identity>,
    /// The way out.
    pub proxy: Proxy,
    /// Where it begins when it is new.
    pub start: Start,
}

/// A client certificate and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A file of reports, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOutput {
    /// The file; absolute.
    pub path: PathBuf,
    /// Put aside at this size, in bytes.
    pub rotate: u64,
    /// How many files put aside are kept.
    pub keep: u32,
    /// Where it begins when it is new.
    pub start: Start,
}

/// Resolves one output; `None` when an error was recorded that leaves nothing to show.
pub(super) fn output(raw: &Named<At<RawOutput>>, cx: &mut Cx<'_>) -> Option<OutputConfig> {
    if !is_name(&raw.name) || raw.name.len() > 64 {
        cx.found.push(
            Diagnostic::error(format!("`{}` is not a name for an output", raw.name))
                .at(&raw.place)
                .label("letters, digits and `_`, at most 64")
                .help(format!("for example `{}`", nearest_name(&raw.name))),
        );
    }
    if raw.name == EMBEDDED_OUTPUT {
        cx.found.push(
            Diagnostic::error("the name `embedded` is that of the output to the embedded hub")
                .at(&raw.place)
                .help("choose another name"),
        );
    }
    match &raw.value.value {
        RawOutput::Talaia(hub) => talaia(hub, raw, cx).map(OutputConfig::Talaia),
        RawOutput::File(file) => file_output(file, raw, cx).map(OutputConfig::File),
        RawOutput::Stdout(_) => Some(OutputConfig::Stdout),
    }
}

/// Says that a key is missing, unless it may be the one that was reported as wrong.
fn missing(key: &str, example: &str, raw: &Named<At<RawOutput>>, cx: &mut Cx<'_>) {
    let spoiled = match &raw.value.value {
        RawOutput::Talaia(hub) => hub.spoiled,
        RawOutput::File(file) => file.spoiled,
        RawOutput::Stdout(_) => false,
    };
    if spoiled {
        return;
    }
    cx.found.push(
        Diagnostic::error(format!("the output `{}` has no `{key}`", raw.name))
            .at(&raw.place)
            .help(format!("add one: `{example}`")),
    );
}

fn talaia(hub: &RawTalaia, raw: &Named<At<RawOutput>>, cx: &mut Cx<'_>) -> Option<TalaiaOutput> {
    let url = if let Some(url) = &hub.url {
        address(url, cx)
    } else {
        missing("url", "url = \"https://hub.example.org\"", raw, cx);
        None
    };
    let key = if let Some(source) = &hub.key {
        secrets::fetch(&source.value, cx)
            .and_then(|key| {
                // It becomes a header; anything else in it is a slip that no hub could accept.
                if key.expose().bytes().all(|b| b.is_ascii_graphic()) {
                    return Ok(key);
                }
                Err(Diagnostic::error("this key has characters that no key has, such as spaces")
                    .at(&source.place)
                    .help("it must be one line with nothing but the key"))
            })
            .map_err(|diagnostic| cx.found.push(diagnostic))
            .ok()
    } else {
        missing("key", "key = { env = \"TALAIA_KEY\" }", raw, cx);
        None
    };
    let identity = match (&hub.cert, &hub.cert_key) {
        (Some(cert), Some(key)) => {
            Some(Identity { cert: cx.readable(cert), key: cx.readable(key) })
        }
        (Some(at), None) | (None, Some(at)) => {
            cx.error("`cert` and `cert_key` go together: one of them is missing", &at.place);
            None
        }
        (None, None) => None,
    };
    let ca = hub.ca.as_ref().map(|path| cx.readable(path));
    let second = Duration::from_secs(1);
    let resolved = (
        cx.duration(hub.interval.as_ref(), second / 10, 10 * second),
        cx.duration(hub.timeout.as_ref(), second, 30 * second),
        proxy::resolve(hub.proxy.as_ref(), url.as_deref(), &raw.place, cx),
    );
    let (interval, timeout, proxy) = resolved;
    Some(TalaiaOutput {
        url: url?,
        key: key?,
        interval,
        timeout,
        compression: hub.compression.as_ref().map_or(Compression::Zstd, |at| at.value),
        ca,
        identity,
        proxy,
        start: hub.start.as_ref().map_or(Start::Now, |at| at.value),
    })
}

/// A hub's address.
pub(super) fn address(at: &At<String>, cx: &mut Cx<'_>) -> Option<String> {
    let wrong = |why: &str| {
        Diagnostic::error("this is not the address of a hub")
            .at(&at.place)
            .label(why.to_owned())
            .help("write it like `https://hub.example.org`")
    };
    let url = match reqwest::Url::parse(&at.value) {
        Ok(url) => url,
        Err(why) => {
            cx.found.push(wrong(&why.to_string()));
            return None;
        }
    };
    let problem = if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        Some("it begins with `https://` or `http://`")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("it holds no user or password; the key goes into `key`")
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("it ends before any `?` or `#`")
    } else if url.path().trim_end_matches('/').ends_with("/api/v1/ingest") {
        Some("leave `/api/v1/ingest` out; it is added")
    } else {
        None
    };
    if let Some(why) = problem {
        cx.found.push(wrong(why));
        return None;
    }
    if url.scheme() == "http" && !proxy::is_this_machine(&url) {
        cx.found.push(
            Diagnostic::warning("the key and the reports travel unencrypted")
                .at(&at.place)
                .help("use `https://`"),
        );
    }
    Some(at.value.trim_end_matches('/').to_owned())
}

fn file_output(file: &RawFile, raw: &Named<At<RawOutput>>, cx: &mut Cx<'_>) -> Option<FileOutput> {
    let Some(path) = &file.path else {
        missing("path", "path = \"/var/log/talaia/reports.ndjson\"", raw, cx);
        return None;
    };
    Some(FileOutput {
        path: cx.path(path),
        rotate: size(file.rotate.as_ref(), 64 << 10, 64 << 20, cx),
        keep: file.keep.as_ref().map_or(4, |at| at.value),
        start: file.start.as_ref().map_or(Start::Now, |at| at.value),
    })
}
