//! `talaia top`: the running agent on a full screen, by its socket.
//!
//! Promises: the terminal is left as it was found, whatever ends it; an agent that goes away is said
//! and picked up again; watching costs the agent at most a tenth of its time, because what takes long
//! to answer is asked less often.

mod keys;
mod model;
pub(crate) mod page;
mod screen;
pub(crate) mod theme;
mod view;

use std::time::{Duration, SystemTime};

use reqwest::Method;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::agent::status::{PluginDetail, Status};
use crate::model::Timestamp;

use super::args::TopArgs;
use super::client::Agent;
use super::exit::{Exit, Failure};
use super::running::parse;
use super::{load, print};

use model::{Model, Wish};
use screen::Screen;
use theme::Theme;

/// An agent that takes longer to answer has gone away.
const PATIENCE: Duration = Duration::from_secs(10);
/// The screen is drawn at least this often: times run on between answers.
const REDRAW: Duration = Duration::from_secs(1);
/// What is asked takes at most this part of the time.
const PART: u32 = 10;

/// Shows it until a key or a signal ends it; or once, as text.
pub(crate) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    let agent = Agent::at(&load::data_dir(&args.config)?, PATIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Internal, format!("no runtime: {e}")))?;
    let ended = if args.once {
        runtime.block_on(once(&agent))
    } else if print::is_dumb() {
        let text = "`talaia top` fills a terminal, and TERM=dumb is one that cannot be filled\n\nhint: \
                    `talaia top --once` prints one table";
        return Err(Failure::new(Exit::Usage, text));
    } else if print::a_person_reads_stdout() {
        runtime.block_on(watch(&agent, args.interval))
    } else {
        let text = "`talaia top` fills a terminal, and stdout is none\n\nhint: `talaia top --once` \
                    prints one table; `talaia status --json` is for programs";
        return Err(Failure::new(Exit::Usage, text));
    };
    // The thread that reads keys waits for one.
    runtime.shutdown_background();
    ended
}

async fn once(agent: &Agent) -> Result<Exit, Failure> {
    let mut model = Model::new();
    model.take(parse(&agent.ask(Method::GET, "/v1/status", None).await?)?, now());
    let columns = print::stdout_width().and_then(|columns| u16::try_from(columns).ok());
    for line in view::plain(&mut model, now(), columns) {
        if print::data(line).is_err() {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// What the agent was asked for, all at once.
struct Answer {
    /// What came of running a plugin.
    note: Option<String>,
    status: Status,
    detail: Option<PluginDetail>,
    took: Duration,
}

async fn ask(
    agent: &Agent,
    plugin: Option<String>,
    to_run: Option<String>,
) -> Result<Answer, Failure> {
    let note = match to_run {
        Some(name) => Some(trigger(agent, &name).await),
        None => None,
    };
    let begin = Instant::now();
    let status = parse(&agent.ask(Method::GET, "/v1/status", None).await?)?;
    let detail = match plugin {
        // One that is not configured any more has none.
        Some(name) => match agent.ask(Method::GET, &format!("/v1/plugin/{name}"), None).await {
            Ok(body) => Some(parse(&body)?),
            Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
            Err(_) => None,
        },
        None => None,
    };
    Ok(Answer { note, status, detail, took: begin.elapsed() })
}

async fn watch(agent: &Agent, interval: Duration) -> Result<Exit, Failure> {
    let mut model = Model::new();
    // Who typed it wrong hears that at once, on the screen as it is.
    let first = ask(agent, None, None).await?;
    model.take(first.status, now());
    let no_signals = |e| Failure::new(Exit::Internal, format!("signals cannot be received: {e}"));
    let ends = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let ends = ends.into_iter().map(signal).collect::<Result<Vec<_>, _>>();
    let mut ends = ends.map_err(no_signals)?;
    // Who stops it would be left with a terminal that is not theirs: it does not stop. Where it was
    // stopped all the same, the shell has had the terminal meanwhile.
    let kind = |signal: Signal| SignalKind::from_raw(signal.as_raw());
    let _stops = signal(kind(Signal::TSTP)).map_err(no_signals)?;
    let mut goes_on = signal(kind(Signal::CONT)).map_err(no_signals)?;
    let mut screen = Screen::enter()?;
    let mut keys = keys::read().map_err(no_signals)?;
    let theme = Theme { colours: print::stdout_has_colours() };
    let mut next = Instant::now();
    // What is asked goes on beside the keys.
    let mut asked = Box::pin(ask(agent, model.selected(), None));
    let mut asking = true;
    let mut of = model.selected();
    let mut to_run = None;
    loop {
        screen.draw(|frame| view::draw(frame, &mut model, theme, now()))?;
        let redraw = sleep_until(Instant::now() + REDRAW);
        tokio::select! {
            key = keys.recv() => match key {
                Some(keys::Typed::Key(key)) => match model.press(key, now()) {
                    Some(Wish::Quit) => break,
                    Some(Wish::Trigger(name)) => {
                        to_run = Some(name);
                        next = Instant::now();
                    }
                    None => {}
                },
                Some(keys::Typed::Redraw) => screen.enter_again()?,
                // Drawn anew for the new size.
                Some(keys::Typed::Other) => {}
                // Nobody can type any more.
                None => break,
            },
            answer = &mut asked, if asking => {
                asking = false;
                let pause = match answer {
                    Ok(Answer { note, status, detail, took }) => {
                        model.note = note.map(|note| (now(), note)).or(model.note.take());
                        // What comes while it is paused is not to be seen.
                        if model.paused.is_none() {
                            model.take(status, now());
                            model.take_detail(detail);
                        } else if model.lacks_detail() {
                            model.take_detail(detail);
                        }
                        interval.max(took * PART)
                    }
                    Err(failure) => {
                        model.lose(failure.text, now());
                        interval
                    }
                };
                next = Instant::now() + if to_run.is_some() { Duration::ZERO } else { pause };
            }
            () = sleep_until(next), if !asking
                && (model.paused.is_none() || to_run.is_some() || model.lacks_detail()) =>
            {
                of = model.selected();
                asked = Box::pin(ask(agent, of.clone(), to_run.take()));
                asking = true;
            }
            () = redraw => {}
            Some(()) = goes_on.recv() => screen.enter_again()?,
            () = ended(&mut ends) => break,
        }
        // What is known of the plugin that is selected now is asked for soon.
        if !asking && model.selected() != of {
            next = next.min(Instant::now() + Duration::from_millis(100));
        }
    }
    screen.leave()?;
    Ok(Exit::Ok)
}

async fn trigger(agent: &Agent, name: &str) -> String {
    match agent.ask(Method::POST, &format!("/v1/trigger/{name}"), None).await {
        Ok(_) => format!("{name} runs now"),
        Err(failure) => failure.text.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Resolves with the first of the signals.
async fn ended(signals: &mut [tokio::signal::unix::Signal]) {
    std::future::poll_fn(|context| {
        if signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
