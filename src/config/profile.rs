//! Profiles: named sets of a hub, what opens it, and the outputs of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::env::Env;
use super::output::{Identity, address};
use super::proxy::Proxy;
use super::raw::{RawOutput, RawProfile};
use super::read::{At, Named, nearest};
use super::resolve::Cx;
use super::secrets;
use super::values::{EnvText, SecretSource};
use crate::model::{Secret, is_name, nearest_name};

/// The profile whose hub and data lie in the sandbox. It exists always.
pub const SANDBOX: &str = "sandbox";
/// The profile of the agent's own hub and outputs. It exists always, and is meant where none is
/// named.
pub const PRODUCTION: &str = "production";

/// A hub, what opens it, and the outputs of a run. What is not said is as without the profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The hub's address, without a slash at the end.
    pub hub: Option<String>,
    /// Where the hub's key is kept.
    pub key: Option<SecretPlace>,
    /// Where the account's public identifier and the secret that goes with it are kept.
    pub account: Option<(Text, SecretPlace)>,
    /// A file of certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The names of the outputs that a run with this profile has, in the order that they were given.
    pub outputs: Option<Vec<String>>,
}

/// A text that may be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Here it is.
    Plain(String),
    /// It is kept there.
    Kept(SecretPlace),
}

/// Where a secret is kept. It is fetched when it is needed, not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In this variable of the environment.
    Env(String),
    /// In this file; absolute.
    File(PathBuf),
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("the environment variable `{0}` is not set, or is empty")]
    NotSet(String),
    /// The file cannot be used.
    #[error("cannot use the secret file `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not, in a few words.
        why: String,
    },
}

impl SecretPlace {
    /// Fetches it.
    ///
    /// # Errors
    /// Where there is none; the error names the place, never the secret.
    pub fn fetch(&self, env: &Env) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => {
                env.var(name).map(Secret::new).ok_or_else(|| SecretError::NotSet(name.clone()))
            }
            Self::File(path) => secret_file(path),
        }
    }
}

/// Reads a file that holds one secret and nothing else.
///
/// # Errors
/// Where it cannot be read, is empty, or too large to be one.
pub fn secret_file(path: &Path) -> Result<Secret, SecretError> {
    secrets::read_file(path)
        .map(|(secret, _mode)| secret)
        .map_err(|why| SecretError::File { path: path.to_owned(), why })
}

/// What a config says to commands that talk to a hub. Plugins and all else that an agent needs are
/// left unread, so that a mistake there is in no command's way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Destinations {
    /// `[agent] data_dir`; absolute.
    pub data_dir: Option<PathBuf>,
    /// The profiles that the config defines.
    pub profiles: BTreeMap<String, Profile>,
    /// The hubs that reports go to, by the name of the output.
    pub outputs: BTreeMap<String, HubOutput>,
}

/// A hub that reports go to.
#[derive(Debug, Clone, PartialEq)]
pub struct HubOutput {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Where its key is kept.
    pub key: SecretPlace,
    /// A file of certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The own certificate.
    pub identity: Option<Identity>,
    /// The way out.
    pub proxy: Proxy,
}

pub(super) fn place(source: &SecretSource, cx: &Cx<'_>) -> SecretPlace {
    match source {
        SecretSource::Env(name) => SecretPlace::Env(name.value.clone()),
        SecretSource::File(path) => SecretPlace::File(cx.base(&path.place).join(&path.value)),
    }
}

/// Resolves the profiles; `outputs` are the names of the outputs there are.
pub(super) fn profiles(
    raw: &[Named<At<RawProfile>>],
    outputs: &[&str],
    cx: &mut Cx<'_>,
) -> BTreeMap<String, Profile> {
    let mut profiles = BTreeMap::new();
    for named in raw {
        if !is_name(&named.name) || named.name.len() > 64 {
            cx.found.push(
                Diagnostic::error(format!("`{}` is not a name for a profile", named.name))
                    .at(&named.place)
                    .label("letters, digits and `_`, at most 64")
                    .help(format!("for example `{}`", nearest_name(&named.name))),
            );
        }
        profiles.insert(named.name.clone(), profile(named, outputs, cx));
    }
    profiles
}

fn profile(named: &Named<At<RawProfile>>, outputs: &[&str], cx: &mut Cx<'_>) -> Profile {
    let raw = &named.value.value;
    let hub = raw.hub.as_ref().and_then(|hub| address(hub, cx));
    let account = match (&raw.api_key, &raw.secret_key) {
        (Some(api_key), Some(secret_key)) => {
            let api_key = match &api_key.value {
                EnvText::Text(text) => Text::Plain(text.clone()),
                EnvText::Secret(source) => Text::Kept(place(source, cx)),
            };
            Some((api_key, place(&secret_key.value, cx)))
        }
        (Some(At { place, .. }), None) | (None, Some(At { place, .. })) => {
            if !raw.spoiled {
                cx.error("`api_key` and `secret_key` go together: one of them is missing", place);
            }
            None
        }
        (None, None) => None,
    };
    for name in raw.outputs.iter().flat_map(|list| &list.value) {
        if outputs.contains(&name.value.as_str()) {
            continue;
        }
        let diagnostic = Diagnostic::error(format!("there is no output `{}`", name.value))
            .at(&name.place)
            .label("not in `[outputs]`");
        cx.found.push(match nearest(&name.value, outputs) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None if outputs.is_empty() => {
                diagnostic.help("the config has no outputs; leave `outputs` out")
            }
            None => diagnostic.help(format!("the outputs are {}", outputs.join(", "))),
        });
    }
    Profile {
        hub,
        key: raw.key.as_ref().map(|key| place(&key.value, cx)),
        account,
        ca: raw.ca.as_ref().map(|path| cx.readable(path)),
        outputs: raw
            .outputs
            .as_ref()
            .map(|list| list.value.iter().map(|name| name.value.clone()).collect()),
    }
}

/// The hubs among the outputs, their keys not fetched.
pub(super) fn hubs(raw: &[Named<At<RawOutput>>], cx: &mut Cx<'_>) -> BTreeMap<String, HubOutput> {
    let mut hubs = BTreeMap::new();
    for named in raw {
        let RawOutput::Talaia(hub) = &named.value.value else { continue };
        let (Some(url), Some(key)) = (&hub.url, &hub.key) else { continue };
        let Some(url) = address(url, cx) else { continue };
        let proxy = super::proxy::resolve(hub.proxy.as_ref(), Some(&url), &named.place, cx);
        let identity = hub.cert.as_ref().zip(hub.cert_key.as_ref());
        let output = HubOutput {
            key: place(&key.value, cx),
            ca: hub.ca.as_ref().map(|path| cx.path(path)),
            identity: identity
                .map(|(cert, key)| Identity { cert: cx.path(cert), key: cx.path(key) }),
            proxy,
            url,
        };
        hubs.insert(named.name.clone(), output);
    }
    hubs
}
