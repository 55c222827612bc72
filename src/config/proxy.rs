//! By which way uploads leave the network: the setting `proxy`, and the variables that other
//! programs read as well.

use reqwest::Url;

use super::diagnostic::{Diagnostic, Sources};
use super::env::Env;
use super::node::Place;
use super::read::{At, Found};
use super::resolve::Cx;
use super::secrets;
use super::values::{EnvText, RawProxy};
use crate::model::Secret;

/// How uploads leave the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Straight.
    None,
    /// By a proxy.
    Through {
        /// Its address, `http://…` or `https://…`, which may hold a login.
        address: Secret,
        /// What is reached straight all the same, as `NO_PROXY` has it: names (with all below them),
        /// addresses and networks, separated by commas.
        except: String,
    },
}

/// The way to `url`, which is `None` where it could not be read.
pub(super) fn resolve(
    written: Option<&At<RawProxy>>,
    url: Option<&str>,
    output: &Place,
    cx: &mut Cx<'_>,
) -> Proxy {
    let Some(at) = written else { return of_environment(url, output, cx) };
    let address = match &at.value {
        RawProxy::Switch(true) => return of_environment(url, &at.place, cx),
        RawProxy::Switch(false) => return Proxy::None,
        RawProxy::Address(EnvText::Secret(source)) => match secrets::fetch(source, cx) {
            Ok(secret) => secret,
            Err(diagnostic) => {
                cx.found.push(diagnostic);
                return Proxy::None;
            }
        },
        RawProxy::Address(EnvText::Text(text)) => {
            if Url::parse(text).is_ok_and(|url| url.password().is_some()) {
                cx.found.push(
                    Diagnostic::error("a password is never written in the config itself")
                        .at(&at.place)
                        .help("name where the whole address is kept: `proxy = { file = \"/etc/talaia/proxy\" }`"),
                );
            }
            Secret::new(text.as_str())
        }
    };
    if !is_address(address.expose()) {
        cx.found.push(
            Diagnostic::error("this is not the address of a proxy")
                .at(&at.place)
                .help("write it like `http://proxy.example.org:3128`"),
        );
    }
    Proxy::Through { address, except: String::new() }
}

impl Proxy {
    /// The way to `url` by the environment, for what no output is about. A variable that names no
    /// proxy is passed over.
    pub fn by_environment(url: &str, env: &Env) -> Self {
        let mut cx = Cx { env, sources: Sources::default(), found: Found::default() };
        let nowhere = Place { file: cx.sources.add(env.cwd.join("environment"), ""), span: 0..0 };
        of_environment(Some(url), &nowhere, &mut cx)
    }
}

/// The proxy of the environment: `HTTPS_PROXY` or `HTTP_PROXY`, as the address begins, else
/// `ALL_PROXY`, but for what `NO_PROXY` names; each of them in lower case as well. This machine
/// itself is never reached through a proxy, which would look for it on its own.
fn of_environment(url: Option<&str>, place: &Place, cx: &mut Cx<'_>) -> Proxy {
    let Some(url) = url.and_then(|url| Url::parse(url).ok()) else { return Proxy::None };
    let except = cx.env.var("NO_PROXY").or_else(|| cx.env.var("no_proxy")).unwrap_or_default();
    // The star is seen to here: the client would not take it for addresses.
    if is_this_machine(&url) || except.split(',').any(|name| name.trim() == "*") {
        return Proxy::None;
    }
    let names = match url.scheme() {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let env = cx.env;
    let Some((name, value)) = names.iter().find_map(|name| Some((name, env.var(name)?.trim())))
    else {
        return Proxy::None;
    };
    let address = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    if !is_address(&address) {
        // Without the value: it may hold a password.
        cx.found.push(
            Diagnostic::error(format!("`{name}` in the environment is not the address of a proxy"))
                .at(place)
                .label("this output would go through it")
                .help("set it like `http://proxy.example.org:3128`, or `proxy = false` here"),
        );
        return Proxy::None;
    }
    Proxy::Through { address: Secret::new(address), except: except.to_owned() }
}

fn is_address(text: &str) -> bool {
    Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

/// Whether `url` leads to this machine by a name or address that means it everywhere.
pub(super) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}
