use crate::agent::confine::{Machine, Preparing};
use crate::agent::prepare::{check_trust, owner_ids};
use crate::config::{Config, Env, OutputConfig, PluginConfig, PluginState, Timing};
use crate::exec::trust;

use crate::model::{Timestamp, chain};

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::load::{self, Place};
use super::print::{self, BAD, GOOD, ODD, paint};

/// Says whether a configuration is going to work, without running anything of it.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let source = load::source(&args.config, &env)?;
    let loaded = load::load(&source, &env, Place::from(&args.config))?;
    // Cgroups are looked at under no agent's name.
    let machine = Machine::this(String::new(), Preparing::Look);
    let mut findings = 0_u64;
    let mut say = |good: bool, what: &str, text: &str| {
        findings += u64::from(!good);
        let mark = if good { paint(GOOD, "ok  ") } else { paint(BAD, "bad ") };
        // A reader that went away has seen enough.
        let _closed = print::data(format!("{mark} {what}{text}"));
    };
    for diagnostic in &loaded.warnings {
        print::talk(format!("{} {}", paint(ODD, "warning:"), loaded.sources.one_line(diagnostic)));
    }
    let config = &loaded.config;
    let owners = match owner_ids(&config.agent.trusted_owners) {
        Ok(owners) => owners,
        Err(names) => {
            let text = format!(": no such user: {}", names.join(", "));
            say(false, "[agent] trusted_owners", &text);
            Vec::new()
        }
    };
    if let Err(error) = trust::check_data_dir(&config.agent.data_dir, &owners) {
        say(false, "[agent] data_dir", &format!(": {}", chain(&error)));
    }
    for (name, plugin) in &config.plugins {
        let what = format!("plugin {name}");
        let contract = plugin.contract().err().map(|error| error.to_string());
        match (&plugin.state, contract) {
            // What does not run today runs tomorrow.
            (PluginState::Disabled | PluginState::Skipped { .. }, Some(why)) => {
                say(false, &what, &format!(": {why}"));
            }
            (PluginState::Disabled, None) => say(true, &what, " (disabled)"),
            (PluginState::Skipped { why }, None) => {
                say(true, &what, &format!(" (skipped here: {why})"));
            }
            (PluginState::Ready, _) if is_never_due(&plugin.timing) => {
                say(false, &what, ": its `cron` has no such day, so it is never due");
            }
            (PluginState::Broken { why }, _) => say(false, &what, &format!(": {why}")),
            (PluginState::Ready, _) => match fitness(plugin, config, &machine, &owners) {
                Ok(notes) => {
                    say(true, &what, "");
                    for note in notes {
                        let note = format!("{} {what}: {note}", paint(ODD, "note"));
                        let _closed = print::data(note);
                    }
                }
                Err(why) => say(false, &what, &format!(": {why}")),
            },
        }
    }
    for (name, output) in &config.outputs {
        let what = format!("output {name}");
        match trouble(name, output, &config.agent.host, args.online) {
            None => say(true, &what, ""),
            Some(why) => say(false, &what, &format!(": {why}")),
        }
    }
    if config.hub.enabled {
        let age = config.hub.retention.map_or_else(
            || "of any age".to_owned(),
            |kept| format!("of {} days", (kept.as_secs_f64() / 864.0).round() / 100.0),
        );
        let kept = format!("keeps at most {} of results {age}", print::bytes(config.hub.quota));
        say(true, "hub", &format!(" on {}, {kept}", config.hub.listen));
    }
    print::talk(if findings == 0 {
        format!("{}, nothing wrong", print::count(config.plugins.len() as u64, "plugin"))
    } else {
        print::count(findings, "finding")
    });
    Ok(if findings == 0 { Exit::Ok } else { Exit::Finding })
}

/// What is to be said of how a plugin that is ready would run; or why it would not.
pub(crate) fn fitness(
    plugin: &PluginConfig,
    config: &Config,
    machine: &Machine,
    owners: &[u32],
) -> Result<Vec<String>, String> {
    check_trust(plugin, owners).map_err(|error| chain(&error))?;
    plugin.contract().map_err(|error| error.to_string())?;
    let plan = machine.plan(plugin, &config.plugins, &config.agent.data_dir);
    plan.map(|plan| plan.notes).map_err(|error| chain(&error))
}

fn is_never_due(timing: &Timing) -> bool {
    let now = Timestamp::from(std::time::SystemTime::now());
    matches!(timing, Timing::Cron(cron) if cron.next_after(now).is_none())
}

fn trouble(name: &str, output: &OutputConfig, host: &str, online: bool) -> Option<String> {
    match output {
        OutputConfig::Stdout => None,
        OutputConfig::File(file) => {
            let folder = file.path.parent().unwrap_or(&file.path);
            (!folder.is_dir()).then(|| format!("there is no folder {}", folder.display()))
        }
        OutputConfig::Talaia(talaia) => {
            let settings = crate::agent::talaia_settings(name, host, talaia);
            let client = match settings.client.build(&talaia.url) {
                Ok(client) => client,
                Err(error) => return Some(chain(&error)),
            };
            if !online {
                return None;
            }
            super::client::block_on(ask(client, talaia)).err()
        }
    }
}

/// Asks the hub what the key may do, which changes nothing.
async fn ask(client: reqwest::Client, talaia: &crate::config::TalaiaOutput) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Own {
        scopes: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let url = format!("{}/api/v1/key", talaia.url);
    let reply = client
        .get(&url)
        .bearer_auth(talaia.key.expose())
        .send()
        .await
        .map_err(|error| chain(&error.without_url()))?;
    let status = reply.status().as_u16();
    let body = reply.bytes().await.map_err(|error| chain(&error.without_url()))?;
    match (status, serde_json::from_slice::<Own>(&body)) {
        (200, Ok(own)) if own.scopes.iter().any(|scope| scope == "ingest") => Ok(()),
        (200, Ok(_)) => Err(format!("the key may not send reports to {}", talaia.url)),
        (401, _) => Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => super::report::clean(&problem.detail),
            Err(_) => format!("{} does not know this key", talaia.url),
        }),
        _ => Err(format!("{} answers {status}; is it a hub?", talaia.url)),
    }
}
