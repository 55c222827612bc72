//! Which hub a command talks to, and what opens it.
//!
//! What is said on the command line comes before the environment, that before the hub's
//! `credentials.json`, that before the outputs of the config. A profile that is named on the command
//! line brings its hub and its key together; the environment only fills in what it lacks.
//!
//! A key that was found with one hub is never sent to another: not that of a profile, an output or a
//! `credentials.json`, and not that of the environment where `TALAIA_HUB` says whose it is. Without
//! `TALAIA_HUB`, the environment's key belongs to whichever hub is meant.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{
    self, Destinations, Env, PRODUCTION, Profile, Proxy, SANDBOX, SecretError, Text,
};
use crate::deliver::{ClientSettings, ProxySettings, TlsSettings};
use crate::model::Secret;

use super::args::{ConfigArgs, RemoteArgs};
use super::exit::{Exit, Failure};
use super::load;

/// What opens a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opener {
    /// A key.
    Key(Secret),
    /// The account's public identifier and the secret that goes with it.
    Account { api_key: String, secret_key: Secret },
}

/// A hub, and what opens it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    pub(crate) opener: Opener,
    /// Where that was found, for when the hub does not take it.
    pub(crate) origin: String,
    pub(crate) client: ClientSettings,
    /// What to say before anything else; nothing secret is in it.
    pub(crate) warnings: Vec<String>,
}

/// What `credentials.json` holds.
#[derive(Clone, Deserialize)]
struct Credentials {
    url: String,
    key: String,
    #[serde(default)]
    certificate: Option<PathBuf>,
}

/// Where to look.
struct Places<'a> {
    env: &'a Env,
    destinations: Destinations,
    /// The folder of the agent that is not in the sandbox.
    data_dir: Option<PathBuf>,
}

/// Finds the hub that `args` mean.
pub(crate) fn find(args: &RemoteArgs, env: &Env) -> Result<Target, Failure> {
    let config = ConfigArgs { config: args.config.clone(), sandbox: false };
    let destinations = destinations(&config, args, env)?;
    let data_dir = match load::data_dir(&config) {
        Ok(folder) => Some(folder),
        Err(failure) if args.config.is_some() => return Err(failure),
        Err(_) => None,
    };
    Places { env, destinations, data_dir }.target(args)
}

/// What the config says. Where nothing asks for it by name, a config that cannot be read is as none.
fn destinations(
    config: &ConfigArgs,
    args: &RemoteArgs,
    env: &Env,
) -> Result<Destinations, Failure> {
    let asked = args.config.is_some() || args.profile.is_some();
    let path = match load::source(config, env) {
        Ok(config::Source::File(path)) => path,
        Err(failure) if !built_in(args) => return Err(failure),
        _ => return Ok(Destinations::default()),
    };
    match config::destinations(&path, env) {
        Ok(destinations) => Ok(destinations),
        Err(errors) if asked => {
            Err(Failure::new(Exit::Config, errors.render(load::color()).trim_end()))
        }
        Err(_) => Ok(Destinations::default()),
    }
}

/// Whether the profile exists without a config.
fn built_in(args: &RemoteArgs) -> bool {
    args.profile.as_deref().is_none_or(|name| name == SANDBOX || name == PRODUCTION)
}

impl Places<'_> {
    fn target(&self, args: &RemoteArgs) -> Result<Target, Failure> {
        let named = if args.sandbox { Some(SANDBOX) } else { args.profile.as_deref() };
        let name = named.unwrap_or(PRODUCTION);
        let profile = match self.destinations.profiles.get(name) {
            Some(profile) => profile.clone(),
            None if name == SANDBOX || name == PRODUCTION => Profile::default(),
            None => return Err(self.no_profile(name)),
        };
        let file = args.key_file.as_deref().map(|path| key_file(path, self.env)).transpose()?;
        let mut variables = Variables::read(self.env, name == SANDBOX);
        let credentials = self.credentials(name)?;
        let output =
            (name == PRODUCTION).then(|| self.destinations.outputs.values().next()).flatten();

        // The hub, and where it was found.
        let hub_variable = self.env.var("TALAIA_HUB");
        let file_url = file.as_ref().and_then(|file| file.url.clone());
        let url = args
            .hub
            .clone()
            .or(file_url)
            .or_else(|| named.is_none().then(|| hub_variable.map(str::to_owned)).flatten())
            .or_else(|| profile.hub.clone())
            .or_else(|| credentials.as_ref().map(|c| c.url.clone()))
            .or_else(|| output.map(|output| output.url.clone()))
            .or_else(|| hub_variable.map(str::to_owned));
        let url = address(&url.ok_or_else(|| self.no_hub(name))?)?;
        let meant = |other: &str| same(other, &url);
        if let Some(file) = &file
            && let Some(own) = file.url.as_deref().filter(|own| !meant(own))
        {
            return Err(not_its_key(&file.path, own, &url));
        }
        if hub_variable.is_some_and(|own| !meant(own)) {
            variables.withhold();
        }

        let local = credentials.as_ref().filter(|c| meant(&c.url));
        let known = |found: &Option<String>| found.as_deref().is_none_or(meant);
        let own = profile.hub.is_some() || local.is_some();
        let found = if let Some(file) = &file {
            Some((Opener::Key(file.key.clone()), file.path.clone()))
        } else if let Some(found) = variables.first(named.is_some()) {
            Some(found)
        } else if known(&profile.hub)
            && own
            && let Some(opener) = self.opener(&profile)?
        {
            Some((opener, format!("the profile `{name}`")))
        } else if let Some(local) = local {
            Some((
                Opener::Key(Secret::new(local.key.as_str())),
                "the hub's credentials.json".to_owned(),
            ))
        } else if let Some(found) = self.elsewhere(&meant)? {
            Some(found)
        } else {
            variables.last()
        };
        let Some((opener, origin)) = found else {
            return Err(match (variables.withheld, hub_variable) {
                (Some(key), Some(own)) => not_its_key(&key, own, &url),
                _ => no_key(&url),
            });
        };

        let client = self.client(args, &url, &profile, local);
        Ok(Target { url, opener, origin, client, warnings: variables.warnings })
    }

    /// What opens the hub by another profile or output of the config.
    fn elsewhere(
        &self,
        meant: &impl Fn(&str) -> bool,
    ) -> Result<Option<(Opener, String)>, Failure> {
        for (name, profile) in &self.destinations.profiles {
            if profile.hub.as_deref().is_some_and(meant)
                && let Some(opener) = self.opener(profile)?
            {
                return Ok(Some((opener, format!("the profile `{name}`"))));
            }
        }
        let output = self.destinations.outputs.iter().find(|(_, output)| meant(&output.url));
        if let Some((name, output)) = output {
            let key = output.key.fetch(self.env).map_err(|error| secret(&error))?;
            return Ok(Some((Opener::Key(key), format!("the output `{name}`"))));
        }
        let sandbox = self.credentials(SANDBOX)?.filter(|c| meant(&c.url));
        Ok(sandbox.map(|c| (Opener::Key(Secret::new(c.key)), "the sandbox".to_owned())))
    }

    fn opener(&self, profile: &Profile) -> Result<Option<Opener>, Failure> {
        let wrong = |error| secret(&error);
        if let Some(key) = &profile.key {
            return Ok(Some(Opener::Key(key.fetch(self.env).map_err(wrong)?)));
        }
        let Some((api_key, secret_key)) = &profile.account else { return Ok(None) };
        let api_key = match api_key {
            Text::Plain(text) => text.clone(),
            Text::Kept(place) => place.fetch(self.env).map_err(wrong)?.expose().to_owned(),
        };
        let secret_key = secret_key.fetch(self.env).map_err(wrong)?;
        Ok(Some(Opener::Account { api_key, secret_key }))
    }

    /// How to reach this machine's hub: the sandbox's, or the other.
    fn credentials(&self, profile: &str) -> Result<Option<Credentials>, Failure> {
        let Some(data_dir) = &self.data_dir else { return Ok(None) };
        let folder = match profile {
            SANDBOX => data_dir.join("sandbox"),
            PRODUCTION => data_dir.clone(),
            _ => return Ok(None),
        };
        let path = load::hub_dir(&folder).join("credentials.json");
        // Another user's hub is as none: the environment may say which is meant.
        let Ok(text) = std::fs::read(&path) else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let text = format!("{} does not hold a hub's credentials: {error}", path.display());
            Failure::new(Exit::Input, text)
        })
    }

    fn client(
        &self,
        args: &RemoteArgs,
        url: &str,
        profile: &Profile,
        local: Option<&Credentials>,
    ) -> ClientSettings {
        let of_profile = profile.hub.as_deref().is_some_and(|hub| same(hub, url));
        let output = self.destinations.outputs.values().find(|output| same(&output.url, url));
        let mut tls = TlsSettings::default();
        if let Some(ca) = &args.ca {
            tls.ca = Some(self.env.cwd.join(ca));
        } else if let Some(ca) = profile.ca.as_ref().filter(|_| of_profile) {
            tls.ca = Some(ca.clone());
        } else if let Some(certificate) = local.and_then(|c| c.certificate.as_ref()) {
            tls.pinned = Some(certificate.clone());
        } else if let Some(output) = output {
            tls.ca.clone_from(&output.ca);
        }
        tls.identity = output
            .and_then(|output| output.identity.as_ref())
            .map(|identity| (identity.cert.clone(), identity.key.clone()));
        let proxy = output
            .map_or_else(|| Proxy::by_environment(url, self.env), |output| output.proxy.clone());
        let proxy = match proxy {
            Proxy::None => ProxySettings::Direct,
            Proxy::Through { address, except } => ProxySettings::Through { url: address, except },
        };
        ClientSettings { tls, proxy, ..ClientSettings::default() }
    }

    fn no_profile(&self, name: &str) -> Failure {
        let own = self.destinations.profiles.keys().map(String::as_str);
        let mut names: Vec<&str> = own.chain([SANDBOX, PRODUCTION]).collect();
        names.sort_unstable();
        names.dedup();
        let text = format!("there is no profile `{name}`; the profiles are {}", names.join(", "));
        Failure::new(Exit::Usage, text)
    }

    fn no_hub(&self, name: &str) -> Failure {
        let folder = self.data_dir.as_ref().map(|folder| match name {
            SANDBOX => folder.join("sandbox"),
            _ => folder.clone(),
        });
        let text = match folder {
            Some(folder) if name == SANDBOX || name == PRODUCTION => format!(
                "there is no hub to talk to: no credentials that can be read in {}, and nothing else names one\n\nhint: start one with `talaia run{}` or `talaia hub`, or name another with --hub URL --key-file FILE, --profile NAME or TALAIA_HUB",
                load::hub_dir(&folder).display(),
                if name == SANDBOX { " --sandbox" } else { "" }
            ),
            _ => format!("the profile `{name}` names no hub; give it one, or say --hub URL"),
        };
        Failure::new(Exit::Unreachable, text)
    }
}

fn no_key(url: &str) -> Failure {
    let text = format!(
        "nothing opens {url}\n\nhint: give its key with --key-file FILE, or in the environment as TALAIA_KEY, or in a profile of the config"
    );
    Failure::new(Exit::Usage, text)
}

/// A key that is at hand, and belongs to the hub `own`, not to `url`.
fn not_its_key(key: &str, own: &str, url: &str) -> Failure {
    // An address that is none may have a password in it.
    let own = address(own).unwrap_or_else(|_| "another hub".to_owned());
    let text = format!(
        "nothing opens {url}: {key} belongs to {own} and is sent to no other hub\n\nhint: give the key of {url} with --key-file FILE, or in a profile of the config; if both addresses are of one hub, say the same one in both places"
    );
    Failure::new(Exit::Usage, text)
}

fn secret(error: &SecretError) -> Failure {
    Failure::from_error(Exit::Config, error)
}

/// A key, and the hub where the file says it.
struct KeyFile {
    /// As it was given.
    path: String,
    key: Secret,
    url: Option<String>,
}

/// A file with a key and nothing else, or a hub's `credentials.json`.
fn key_file(path: &Path, env: &Env) -> Result<KeyFile, Failure> {
    let text = config::secret_file(&env.cwd.join(path))
        .map_err(|error| Failure::from_error(Exit::Input, &error))?;
    if text.expose().trim_start().starts_with('{') {
        let credentials: Credentials = serde_json::from_str(text.expose()).map_err(|_| {
            let text = format!("{} holds neither a key nor a hub's credentials", path.display());
            Failure::new(Exit::Input, text)
        })?;
        let (key, url) = (Secret::new(credentials.key), Some(credentials.url));
        return Ok(KeyFile { path: path.display().to_string(), key, url });
    }
    if !text.expose().bytes().all(|b| b.is_ascii_graphic()) {
        let text = format!("{} must hold one line with nothing but the key", path.display());
        return Err(Failure::new(Exit::Input, text));
    }
    Ok(KeyFile { path: path.display().to_string(), key: text, url: None })
}

fn address(url: &str) -> Result<String, Failure> {
    let trimmed = url.trim().trim_end_matches('/');
    let good = reqwest::Url::parse(trimmed).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if good {
        return Ok(trimmed.to_owned());
    }
    // Without the address: a password may be in it.
    let text =
        "this is not the address of a hub: write it like https://hub.example.org, the key apart";
    Err(Failure::new(Exit::Usage, text))
}

/// Whether two addresses mean the same hub.
fn same(one: &str, other: &str) -> bool {
    match (reqwest::Url::parse(one.trim_end_matches('/')), reqwest::Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// What the environment has.
struct Variables {
    /// `TALAIA_KEY`.
    key: Option<Secret>,
    /// `TALAIA_API_KEY` and `TALAIA_SECRET_KEY`, or what stands for them.
    account: Option<(Opener, String)>,
    /// The pair that is meant for the sandbox alone.
    sandbox: Option<(Opener, String)>,
    /// What was set and belongs to another hub, if anything.
    withheld: Option<String>,
    warnings: Vec<String>,
}

const API_KEYS: [&str; 3] = ["TALAIA_API_KEY", "MONITIS_APIKEY", "MONITIS_API_KEY"];
const SECRET_KEYS: [&str; 3] = ["TALAIA_SECRET_KEY", "MONITIS_SECRETKEY", "MONITIS_SECRET_KEY"];

impl Variables {
    fn read(env: &Env, sandbox: bool) -> Self {
        let mut warnings = Vec::new();
        let pair = |api_keys: &[&'static str], secret_keys: &[&'static str], warnings: &mut _| {
            let api_key = first(env, api_keys, warnings);
            let secret_key = first(env, secret_keys, warnings);
            let ((one, api_key), (other, secret_key)) = api_key.zip(secret_key)?;
            let secret_key = Secret::new(secret_key);
            let opener = Opener::Account { api_key: api_key.to_owned(), secret_key };
            Some((opener, format!("{one} and {other}")))
        };
        let (account, of_sandbox) = if sandbox {
            let names: (&[_], &[_]) = (&["MONITIS_SANDBOX_APIKEY"], &["MONITIS_SANDBOX_SECRETKEY"]);
            let own = pair(names.0, names.1, &mut warnings);
            // What stands for production's never opens the sandbox.
            (pair(&API_KEYS[..1], &SECRET_KEYS[..1], &mut warnings), own)
        } else {
            (pair(&API_KEYS, &SECRET_KEYS, &mut warnings), None)
        };
        let key = env.var("TALAIA_KEY").map(Secret::new);
        Self { key, account, sandbox: of_sandbox, withheld: None, warnings }
    }

    /// `TALAIA_HUB` names another hub than the one that is meant: what opens that one stays here.
    fn withhold(&mut self) {
        let key = self.key.take().map(|_| "TALAIA_KEY".to_owned());
        let account = self.account.take().map(|(_, names)| names);
        self.withheld = key.or(account);
    }

    /// What comes before anything that a profile or `credentials.json` says.
    fn first(&self, profile_named: bool) -> Option<(Opener, String)> {
        if profile_named { self.sandbox.clone() } else { self.last() }
    }

    /// What there is where nothing else is.
    fn last(&self) -> Option<(Opener, String)> {
        let key = self.key.clone().map(|key| (Opener::Key(key), "TALAIA_KEY".to_owned()));
        key.or_else(|| self.sandbox.clone()).or_else(|| self.account.clone())
    }
}

/// The first of these variables that is set; where others that mean the same say otherwise, that is
/// worth a word.
fn first<'a>(
    env: &'a Env,
    names: &[&'static str],
    warnings: &mut Vec<String>,
) -> Option<(&'static str, &'a str)> {
    let mut set = names.iter().filter_map(|name| Some((*name, env.var(name)?)));
    let (name, value) = set.next()?;
    for (other, differing) in set {
        if differing != value {
            warnings.push(format!("{name} and {other} are set and differ: {name} is used"));
        }
    }
    Some((name, value))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's files need not be durable")]
mod tests;
