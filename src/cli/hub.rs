//! The hub: on its own as `talaia hub`, and embedded in `talaia run`.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Env, HubConfig};
use crate::deliver::Endpoint;
use crate::hub::{
    self, AccountError, Admission, Clock, Export, ExportError, ExportFormat, Hub, HubError,
    MonitisReads, Settings, TlsFiles, make_login_link,
};
use crate::model::{Secret, Timestamp, chain};

use super::args::{
    AccountCommand, ConfigArgs, HubArgs, HubCommand, HubDataArgs, HubExportFormat, HubServeArgs,
    Retention,
};
use super::exit::{Exit, Failure};
use super::print::{self, BAD, FAINT, ODD, STRONG, paint};
use super::progress::{Progress, Unit};
use super::{client, load};

/// How long until a taken port is tried again.
const AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &HubArgs) -> Result<Exit, Failure> {
    match &args.command {
        None => serve(&args.serve),
        Some(HubCommand::Login { account, data }) => {
            let link = make_login_link(&folder(data)?, account, &Clock::system())
                .map_err(|e| failure(&e))?;
            say(link)
        }
        Some(HubCommand::Account { command }) => account(command),
        Some(HubCommand::Logout { data }) => {
            let ended =
                hub::end_sessions(&folder(data)?, &Clock::system()).map_err(|e| failure(&e))?;
            print::talk(format!(
                "{} ended; login links from before work no longer",
                print::count(ended, "session")
            ));
            Ok(Exit::Ok)
        }
        Some(HubCommand::Backup { file, data }) => backup(&folder(data)?, file),
        Some(HubCommand::Restore { file, data }) => restore(&folder(data)?, file),
        Some(HubCommand::Verify { file, data }) => verify(&folder(data)?, file.as_deref()),
        Some(HubCommand::Export { from, to, monitor, format, file, data }) => {
            let wanted = Export {
                format: match format {
                    HubExportFormat::Ndjson => ExportFormat::Ndjson,
                    HubExportFormat::Csv => ExportFormat::Csv,
                },
                from: from.map_or(i64::MIN, Timestamp::millis),
                to: to.map_or(i64::MAX, Timestamp::millis),
                monitor: monitor.clone(),
            };
            export(&folder(data)?, file.as_deref(), &wanted)
        }
    }
}

fn say(text: impl std::fmt::Display) -> Result<Exit, Failure> {
    print::data(text).map_err(|e| Failure::new(Exit::Disk, format!("stdout: {e}")))?;
    Ok(Exit::Ok)
}

fn account(command: &AccountCommand) -> Result<Exit, Failure> {
    let clock = Clock::system();
    let admit = |data, name: &str, admission| -> Result<Exit, Failure> {
        hub::admit_account(&folder(data)?, name, admission, &clock).map_err(|e| failure(&e))?;
        Ok(Exit::Ok)
    };
    match command {
        AccountCommand::Create { name, data } => {
            let made =
                hub::create_account(&folder(data)?, name, &clock).map_err(|e| failure(&e))?;
            let json = serde_json::to_string_pretty(&made)
                .map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
            print::talk(
                "these keys are shown once; `talaia hub login --account` leads to the pages",
            );
            say(json)
        }
        AccountCommand::List { json, data } => {
            let rows = hub::accounts(&folder(data)?, &clock).map_err(|e| failure(&e))?;
            if *json {
                let json = serde_json::to_string(&rows)
                    .map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
                return say(json);
            }
            for row in rows {
                let state = if row.disabled { "disabled" } else { "enabled" };
                let (name, api_key) = (row.name, row.api_key);
                say(format!("{name}\t{state}\t{api_key}\t{}\t{}", row.keys, row.monitors))?;
            }
            Ok(Exit::Ok)
        }
        AccountCommand::Disable { name, data } => admit(data, name, Admission::Disabled),
        AccountCommand::Enable { name, data } => admit(data, name, Admission::Enabled),
    }
}

fn backup(folder: &Path, file: &Path) -> Result<Exit, Failure> {
    let progress = Progress::of("backing up the hub", Unit::Bytes);
    let made = hub::backup(folder, file).map_err(|e| failure(&e))?;
    drop(progress);
    print::talk(format!(
        "{}: {}, {} reports, {} points; keep `master.key` of {} as well, and apart from it",
        file.display(),
        print::bytes(made.size),
        made.reports,
        made.points,
        folder.display()
    ));
    Ok(Exit::Ok)
}

fn restore(folder: &Path, file: &Path) -> Result<Exit, Failure> {
    let progress = Progress::of("restoring the hub", Unit::Bytes);
    let aside = hub::restore(folder, file).map_err(|e| failure(&e))?;
    drop(progress);
    print::talk(format!("the hub in {} has what {} holds", folder.display(), file.display()));
    if let Some(aside) = aside {
        print::talk(format!("what it had before is in {}", aside.display()));
    }
    print::talk("keys that were revoked since are good again: look through `talaia keys list`");
    Ok(Exit::Ok)
}

fn verify(folder: &Path, file: Option<&Path>) -> Result<Exit, Failure> {
    let progress = Progress::of("checking the hub", Unit::Bytes);
    let looked = hub::verify(folder, file).map_err(|e| failure(&e))?;
    drop(progress);
    for finding in &looked.findings {
        if print::data(format!("{} {finding}", paint(BAD, "bad "))).is_err() {
            break;
        }
    }
    let named = looked.findings.len() as u64;
    if looked.found > named {
        print::talk(format!("and {} more", looked.found - named));
    }
    let held = format!(
        "{}, {} series, {}, {}",
        print::count(looked.monitors, "monitor"),
        looked.series,
        print::count(looked.points, "point"),
        print::count(looked.runs, "run")
    );
    print::talk(if looked.found == 0 {
        format!("{held}: nothing wrong")
    } else {
        format!("{held}: {}", print::count(looked.found, "finding"))
    });
    Ok(if looked.found == 0 { Exit::Ok } else { Exit::Finding })
}

fn export(folder: &Path, file: Option<&Path>, wanted: &Export) -> Result<Exit, Failure> {
    let progress = Progress::beside_stdout("exporting", Unit::Bytes);
    let out = Counted { out: io::stdout().lock(), progress: progress.as_ref() };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let exported = hub::export(folder, file, wanted, &mut out);
    drop(out);
    drop(progress);
    match exported {
        Ok(points) => {
            print::talk(print::count(points, "point"));
            Ok(Exit::Ok)
        }
        // A reader that went away has seen enough.
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(ExportError::Hub(error)) => Err(failure(&error)),
        Err(error @ ExportError::NoMonitor { .. }) => {
            Err(Failure::from_error(Exit::Finding, &error))
        }
        Err(error @ ExportError::Write(_)) => Err(Failure::from_error(Exit::Disk, &error)),
    }
}

/// Counts what passes.
struct Counted<'a, W> {
    out: W,
    progress: Option<&'a Progress>,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        if let Some(progress) = self.progress {
            progress.add(written as u64);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn folder(args: &HubDataArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.data_dir {
        return Ok(folder.clone());
    }
    let args = ConfigArgs { config: args.config.clone(), sandbox: args.sandbox };
    Ok(load::hub_dir(&load::data_dir(&args)?))
}

fn failure(error: &HubError) -> Failure {
    let exit = match error {
        HubError::NoHub { .. } => Exit::Unreachable,
        HubError::Serve(_) => Exit::Internal,
        HubError::Account(AccountError::Sqlite(_) | AccountError::Seal) => Exit::Disk,
        HubError::Account(_) => Exit::Finding,
        HubError::Tls(_) => Exit::Input,
        _ => Exit::Disk,
    };
    Failure::from_error(exit, error)
}

fn serve(args: &HubServeArgs) -> Result<Exit, Failure> {
    let settings = settings(args)?;
    client::block_on(async move {
        let hub = match Hub::bind(settings).await {
            Ok(hub) => hub,
            Err(error) => return Ok(Err(failure(&error))),
        };
        announce(&hub);
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => return Err(format!("signals cannot be received: {error}")),
        };
        Ok(hub.serve(stop).await.map_err(|error| failure(&error)))
    })
    .map_err(|text| Failure::new(Exit::Internal, text))??;
    Ok(Exit::Ok)
}

/// What the flags say goes before the config's `[hub]`, which holds as it does for the embedded hub.
fn settings(args: &HubServeArgs) -> Result<Settings, Failure> {
    let env = Env::system();
    let folder = folder(&args.data)?;
    let mut settings = match load::hub(&args.data, &env)? {
        Some(config) => configured(config, folder),
        None => Settings::new(SocketAddr::from(([127, 0, 0, 1], 7180)), folder),
    };
    if args.data.sandbox {
        settings.listen.set_port(load::sandbox_port(settings.listen.port()));
    }
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    settings.hosts.extend(args.hosts.iter().cloned());
    if let Some((cert, key)) = args.tls_cert.as_ref().zip(args.tls_key.as_ref()) {
        settings.tls = Some(TlsFiles { cert: env.cwd.join(cert), key: env.cwd.join(key) });
    }
    if let Some(quota) = args.quota {
        settings.max_size = quota;
    }
    match args.retention {
        Some(Retention::Age(age)) => settings.retention = Some(age),
        Some(Retention::Any) => settings.retention = None,
        None => {}
    }
    if args.signed_monitis_reads {
        settings.monitis_reads = MonitisReads::Signed;
    }
    Ok(settings)
}

fn configured(config: HubConfig, folder: PathBuf) -> Settings {
    Settings {
        hosts: config.hosts,
        max_size: config.quota,
        monitis_reads: monitis_reads(config.monitis_reads),
        retention: config.retention,
        tls: config.tls.map(|tls| TlsFiles { cert: tls.cert, key: tls.key }),
        ..Settings::new(config.listen, folder)
    }
}

fn monitis_reads(by_api_key: bool) -> MonitisReads {
    if by_api_key { MonitisReads::ByApiKey } else { MonitisReads::Signed }
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Where it is; the login link only for a person's eyes, because it is a key while it lasts.
fn announce(hub: &Hub) {
    print::talk(format!("hub      {}", paint(STRONG, hub.url())));
    if !hub.addr().ip().is_loopback() && !hub.speaks_tls() {
        print::talk(format!(
            "{} other machines can reach the hub, and all that they send it, keys included, travels \
             unencrypted; give it a certificate, or let it listen on 127.0.0.1",
            paint(ODD, "warning:")
        ));
    }
    if !print::a_person_reads_stderr() {
        return;
    }
    match hub.login_link() {
        Ok(link) => print::talk(format!(
            "log in   {}\n         {}",
            paint(STRONG, link),
            paint(FAINT, "works once, within 10 minutes; `talaia hub login` makes a new one")
        )),
        Err(error) => print::talk(format!("no login link: {}", chain(&error))),
    }
}

/// The hub inside `talaia run`: bound as soon as its port is free, and then told to the agent's
/// output. `stop` resolves when the agent has ended.
pub(crate) async fn embedded(
    config: HubConfig,
    folder: PathBuf,
    endpoint: watch::Sender<Endpoint>,
    mut stop: watch::Receiver<bool>,
) {
    let settings = configured(config, folder);
    let mut said = None;
    let hub = loop {
        match Hub::bind(settings.clone()).await {
            Ok(hub) => break hub,
            Err(error) => {
                let why = chain(&error);
                if said.as_ref() != Some(&why) {
                    print::talk(format!(
                        "{} the hub cannot start, reports wait on disk: {why}; tried again every {} s",
                        paint(BAD, "hub"),
                        AGAIN.as_secs()
                    ));
                    endpoint.send_replace(Endpoint::Waiting { why: why.clone() });
                    said = Some(why);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    };
    announce(&hub);
    let mut credentials = hub.watch_credentials();
    let told = async move {
        loop {
            let ready = {
                let now = credentials.borrow_and_update();
                Endpoint::Ready { url: now.url.clone(), key: Secret::new(now.key.as_str()) }
            };
            endpoint.send_replace(ready);
            if credentials.changed().await.is_err() {
                // The hub is gone; the output keeps what it knew.
                return std::future::pending::<()>().await;
            }
        }
    };
    let stopped = async move {
        // The sender that is gone says the same.
        let _gone = stop.wait_for(|stop| *stop).await;
    };
    tokio::select! {
        served = hub.serve(stopped) => if let Err(error) = served {
            print::talk(format!("{} {}", paint(BAD, "hub"), chain(&error)));
        },
        () = told => {}
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's files need not be durable")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn settings_of(words: &[&str]) -> Result<Settings, Failure> {
        let cli = Cli::try_parse_from(["talaia", "hub"].iter().chain(words)).unwrap();
        let Command::Hub(HubArgs { serve, .. }) = cli.command else { panic!("{words:?}") };
        settings(&serve)
    }

    #[test]
    fn flags_go_before_the_config_and_that_before_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talaia.toml");
        // What is wrong elsewhere in it is the agent's business.
        let text = "[hub]\nlisten = \"127.0.0.1:7300\"\nquota = \"32MiB\"\nretention = \"30d\"\n\
                    hosts = [\"a.example\"]\nmonitis_reads = false\n[plugins.p]\ncommnad = 1\n";
        std::fs::write(&path, text).unwrap();
        let config = ["--config", path.to_str().unwrap()];
        let days = |n: u64| Some(Duration::from_hours(24 * n));

        let of_config = settings_of(&config).unwrap();
        assert_eq!((of_config.max_size, of_config.retention), (32 << 20, days(30)));
        assert_eq!(of_config.listen.port(), 7300);
        assert_eq!(
            (of_config.hosts, of_config.monitis_reads),
            (vec!["a.example".to_owned()], MonitisReads::Signed)
        );
        assert_eq!(
            settings_of(&[&config[..], &["--sandbox"]].concat()).unwrap().listen.port(),
            7301
        );

        let flags = [
            "--quota",
            "2GiB",
            "--retention",
            "off",
            "--listen",
            "127.0.0.1:0",
            "--host",
            "b.example",
        ];
        let of_flags = settings_of(&[&config[..], &flags].concat()).unwrap();
        assert_eq!((of_flags.max_size, of_flags.retention), (2 << 30, None));
        assert_eq!((of_flags.listen.port(), of_flags.hosts.len()), (0, 2));

        let own = ["--data-dir", folder.path().to_str().unwrap()];
        let defaults = settings_of(&own).unwrap();
        assert_eq!((defaults.max_size, defaults.retention), (1 << 30, days(400)));
        assert_eq!(
            settings_of(&[&own[..], &["--retention", "7d"]].concat()).unwrap().retention,
            days(7)
        );

        std::fs::write(&path, "[hub]\nquota = \"much\"\n").unwrap();
        assert!(settings_of(&config).is_err());
        for wrong in [["--quota", "1MiB"], ["--quota", "7"], ["--retention", "1m"]] {
            assert!(
                Cli::try_parse_from(["talaia", "hub"].iter().chain(&wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }
}
