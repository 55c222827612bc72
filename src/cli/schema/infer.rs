//! `schema infer`: runs a plugin some times and proposes its contract.

use std::thread;
use std::time::{Duration, Instant};

use crate::agent::trial::{Trial, Trials};
use crate::cli::args::{InferArgs, Pasted};
use crate::cli::dry_run::{Interrupt, find, observing, trials};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print;
use crate::config::{Env, Mode, PluginConfig};
use crate::contract::{Basis, Observed, Proposal, advice, infer};
use crate::model::{AdviceCode, Outcome};

pub(super) fn run(args: &InferArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let interrupt = Interrupt::listen();
    let found = find(&args.target, &args.args, &args.config, &env)?;
    let plugin = &found.plugin;
    let mut trials = trials(plugin, &found.config, &env, &interrupt)?;
    let seen = observe(args, plugin, &mut trials, &interrupt)?;
    drop(trials);
    let contract = plugin.contract().unwrap_or_default();
    let proposals = infer(&seen.observed, &contract);
    if proposals.is_empty() {
        let text = format!(
            "{}: nothing was accepted in {}, so there is nothing to learn from\n\nhint: `talaia test \
             {}` says why",
            plugin.name,
            print::count(u64::from(seen.observed.runs()), "run"),
            args.target
        );
        return Err(Failure::new(Exit::Finding, text));
    }
    let name = plugin.name.as_str();
    let prefix = match args.place {
        Pasted::Config => format!("plugins.{name}.metrics"),
        Pasted::Package => format!("commands.{name}.metrics"),
        Pasted::Sidecar => "metrics".to_owned(),
    };
    let text = toml(&proposals, &prefix, name, seen.observed.runs());
    // A reader that went away has seen enough.
    let _closed = print::data(text.trim_end());
    // Units are in what is proposed.
    let said = advice(&seen.observed, &contract);
    for advice in said.iter().filter(|advice| advice.code != AdviceCode::UnitMissing) {
        print::talk(format!("note: {advice}"));
    }
    if seen.refused > 0 {
        let refused = print::count(seen.refused, "record");
        print::talk(format!(
            "note: {refused} were refused and are not in it: `talaia test {}`",
            args.target
        ));
    }
    if seen.failed > 0 {
        let failed = print::count(seen.failed, "run");
        print::talk(format!("note: {failed} did not end well: `talaia test {}`", args.target));
    }
    Ok(Exit::Ok)
}

/// What came.
struct Seen {
    observed: Observed,
    refused: u64,
    failed: u64,
}

impl Seen {
    fn add(&mut self, trial: &Trial) {
        let printed = Some(trial.report.usage.stdout).filter(|_| trial.report.outcome.is_ok());
        self.observed.add(&trial.report.metrics, printed);
        self.refused += trial.report.counts.rejected_total();
        self.failed += u64::from(!trial.report.outcome.is_ok());
    }
}

fn observe(
    args: &InferArgs,
    plugin: &PluginConfig,
    trials: &mut Trials,
    interrupt: &Interrupt,
) -> Result<Seen, Failure> {
    let mut seen = Seen { observed: observing(plugin), refused: 0, failed: 0 };
    let until = Instant::now() + args.wait;
    for n in 1..=args.times {
        if plugin.mode == Mode::Interval {
            if n > 1 {
                pause(args.pause, interrupt);
            }
            let trial = trials.run().map_err(|e| Failure::from_error(Exit::Internal, &e))?;
            if trial.report.outcome == Outcome::Stopped {
                break;
            }
            seen.add(&trial);
        } else {
            let Some(trial) = trials.next(until.saturating_duration_since(Instant::now())) else {
                break;
            };
            let alive = trial.report.outcome == Outcome::Answered;
            seen.add(&trial);
            if !alive {
                break;
            }
            if matches!(plugin.mode, Mode::Tick { .. }) && n < args.times {
                pause(args.pause, interrupt);
                trials.ask();
            }
        }
        if interrupt.came() {
            break;
        }
    }
    Ok(seen)
}

/// Waits, but not past a signal.
fn pause(long: Duration, interrupt: &Interrupt) {
    let until = Instant::now() + long;
    while !interrupt.came() && Instant::now() < until {
        thread::sleep(
            until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)),
        );
    }
}

/// The proposal as it is pasted.
fn toml(proposals: &[Proposal], prefix: &str, plugin: &str, runs: u32) -> String {
    let runs = print::count(u64::from(runs), "run");
    let mut text = format!(
        "# What `{plugin}` printed in {runs}. See that types and units are what you mean.\n"
    );
    let declared = proposals.iter().filter(|p| p.basis == Basis::Declared).map(|p| p.name.as_str());
    let declared: Vec<&str> = declared.collect();
    if !declared.is_empty() {
        text.push_str(&format!("# Declared already: {}\n", declared.join(", ")));
    }
    for Proposal { name, declared, basis, seen, doubts } in proposals {
        if *basis == Basis::Declared {
            continue;
        }
        text.push_str(&format!("\n# {}\n", comment(seen)));
        for doubt in doubts {
            text.push_str(&format!("# {}\n", comment(doubt)));
        }
        // Every declaration can be written: it has no map in it and no null.
        let table = toml::to_string(declared).unwrap_or_default();
        let table = format!("[{prefix}.{name}]\n{table}");
        if *basis == Basis::Values {
            text.push_str(&table);
        } else {
            table.lines().for_each(|line| text.push_str(&format!("# {line}\n")));
        }
    }
    text
}

/// What a program printed must not end the comment that it stands in.
fn comment(text: &str) -> String {
    crate::cli::report::clean(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Declared;
    use crate::model::MetricType;

    #[test]
    fn what_is_written_reads_back() {
        let declared = Declared {
            unit: Some("°C \"x\"".to_owned()),
            label: Some("T".to_owned()),
            required: true,
            min: Some(0.0),
            max: Some(100.0),
            ..Declared::of(MetricType::Percent)
        };
        let proposal = Proposal {
            name: "temp".to_owned(),
            declared: declared.clone(),
            basis: Basis::Values,
            seen: "a\nb".to_owned(),
            doubts: vec!["perhaps".to_owned()],
        };
        let text = toml(&[proposal], "plugins.p.metrics", "p", 10);
        let tree: toml::Table = text.parse().unwrap();
        let back: Declared = tree["plugins"]["p"]["metrics"]["temp"].clone().try_into().unwrap();
        assert_eq!(back, declared, "{text}");
    }
}
