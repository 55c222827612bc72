//! What can be written in a config. The doc comments here are the descriptions in
//! `schemas/config.v1.json`; what the settings come to is in the files that resolve them.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::choices::{Compression, Leftovers, Start, Stdin};
use super::diagnostic::Diagnostic;
use super::node::{Kind, Node};
use super::read::{At, Found, Read, Size, Span, Table, not_one_of, section};
use super::values::{
    EnvText, FileWord, Mark, MetricWord, OneOrMore, RawCommand, RawMode, RawProxy, RawTrigger,
    SecretSource, Settings, SpanOrOff, StdoutWord, TalaiaWord, later_version,
};
use crate::model::Format;

section! {
    /// The config of a Talaia agent, in TOML or as the same tree in JSON.
    #[schemars(title = "Talaia config")]
    RawConfig {
        /// More files with plugins and outputs, as paths or patterns with `*` and `?`, relative to
        /// this file; read in sorted order. Only the main file may include others.
        #[schemars(title = "Included files", example = ["plugins.d/*.toml"])]
        include: Vec<At<String>>,
        /// The agent itself.
        #[schemars(title = "Agent", example = serde_json::json!({"host": "web-1", "tags": {"env": "prod"}}))]
        agent: RawAgent,
        /// The plugins by name. A name has letters, digits and `_` and does not start with a digit.
        #[schemars(title = "Plugins", example = serde_json::json!({"disk": {"command": ["plugins/disk.sh"], "interval": "30s"}}))]
        plugins: Table<RawPlugin>,
        /// Packages in use, by name. `talaia plugin install` writes one file for each into
        /// `plugins.d`, beside this file; the files there are always read.
        #[schemars(title = "Packages", example = serde_json::json!({"netstat": {"version": "0.1.0"}}))]
        packages: Table<RawPackage>,
        /// Where reports go, by a name of your choice. Without any, they go to the embedded hub.
        #[schemars(title = "Outputs", example = serde_json::json!({"main": {"type": "talaia", "url": "https://hub.example.org", "key": {"env": "TALAIA_KEY"}}}))]
        outputs: Table<RawOutput>,
        /// Named sets of a hub, keys and outputs, chosen with `--profile NAME`. `sandbox` and
        /// `production` exist always.
        #[schemars(title = "Profiles", example = serde_json::json!({"staging": {"hub": "https://staging.example.org", "key": {"file": "/etc/talaia/staging.key"}}}))]
        profiles: Table<RawProfile>,
        /// The embedded hub: the server with the web pages, in this very process.
        #[schemars(title = "Embedded hub", example = serde_json::json!({"listen": "127.0.0.1:7180"}))]
        hub: RawHub,
    }
}

section! {
    /// The agent itself.
    #[schemars(title = "Agent", rename = "Agent")]
    RawAgent {
        /// The name of this host in reports. Default: the system's host name.
        #[schemars(title = "Host name", example = &"web-1")]
        host: String,
        /// The folder for the spool, plugin state and the embedded hub. Default: `/var/lib/talaia`
        /// as root, else `$XDG_STATE_HOME/talaia`. Relative to this file.
        #[schemars(title = "Data folder", example = &"/var/lib/talaia")]
        data_dir: String,
        /// Tags added to every metric; a plugin's and a metric's own tags win.
        #[schemars(title = "Tags", example = serde_json::json!({"env": "prod"}))]
        tags: Table<At<String>>,
        /// Folders of plugins, relative to this file: every executable in one is a plugin, named by
        /// its stem, with optional `NAME.toml` (its settings) and `NAME.schema.json` beside it.
        #[schemars(title = "Plugin folders", example = ["plugins"])]
        plugin_dirs: Vec<At<String>>,
        /// Users besides root and the agent's own who may own what is run.
        #[schemars(title = "Trusted owners", example = ["deploy"])]
        trusted_owners: Vec<At<String>>,
        /// Most runs younger than 250 ms at one time. Default: twice the processors, at least 4.
        #[schemars(title = "Concurrency", example = 8)]
        concurrency: u32,
        /// Most runs alive at one time. Default: 512.
        #[schemars(title = "Most live runs", example = 512)]
        max_running: u32,
        /// How long a stopping agent waits for runs and uploads. Default: 10 s.
        #[schemars(title = "Stop timeout", example = &"10s")]
        stop_timeout: Span,
        /// The `PATH` of plugins, and where commands without a `/` are looked up. Default:
        /// `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`.
        #[schemars(title = "Search path", example = &"/opt/bin:/usr/bin:/bin")]
        path: String,
        /// Environment variables for every plugin; its own `env` wins.
        #[schemars(title = "Environment", example = serde_json::json!({"LC_ALL": "C"}))]
        env: Table<At<EnvText>>,
        /// What is kept on disk until every output has it.
        #[schemars(title = "Spool", example = serde_json::json!({"quota": "256MiB"}))]
        spool: RawSpool,
        /// What is kept of refused records and reports, to look at and to replay.
        #[schemars(title = "Quarantine", example = serde_json::json!({"quota": "16MiB", "max_age": "7d"}))]
        quarantine: RawQuarantine,
        /// How often the agent reports on itself as plugin `talaia`, or `false` for never. Default:
        /// 60s.
        #[schemars(title = "Metrics of the agent itself", example = &"60s")]
        self_metrics: SpanOrOff,
    }
}

section! {
    /// What is kept of refused records and reports, to look at and to replay.
    #[schemars(title = "Quarantine", rename = "Quarantine")]
    RawQuarantine {
        /// Most bytes; beyond, the oldest are dropped. `0B` keeps nothing. Default: 16MiB.
        #[schemars(title = "Quota", example = &"16MiB")]
        quota: Size,
        /// What is older is dropped. Default: 7d.
        #[schemars(title = "Longest age", example = &"7d")]
        max_age: Span,
    }
}

section! {
    /// What is kept on disk until every output has it.
    #[schemars(title = "Spool", rename = "Spool")]
    RawSpool {
        /// Most bytes of reports kept; beyond, the oldest are dropped and counted. Default: 256MiB.
        #[schemars(title = "Quota", example = &"256MiB")]
        quota: Size,
        /// Free space that is left to others on the disk; below, the oldest reports are dropped and
        /// counted. Default: 256MiB.
        #[schemars(title = "Free space", example = &"256MiB")]
        min_free: Size,
        /// Reports older than this are dropped and counted. Default: never.
        #[schemars(title = "Longest age", example = &"7d")]
        max_age: Span,
        /// How long reports may wait to be written together; a run counts once it is on disk.
        /// Default: 100 ms.
        #[schemars(title = "Commit interval", example = &"100ms")]
        commit_interval: Span,
    }
}

section! {
    /// One plugin: an executable and how to run it.
    #[schemars(title = "Plugin", rename = "Plugin")]
    RawPlugin {
        /// The program and its arguments. A program with a `/` is relative to this file, one without
        /// is looked up on the search path. It runs in its own folder where that is the folder of
        /// this file or below it, else in the folder of this file; relative arguments are relative to
        /// that. A single string needs `shell = true`. In a sidecar the default is the executable it
        /// belongs to.
        #[schemars(title = "Command", example = ["plugins/disk.sh"])]
        command: RawCommand,
        /// Whether `command` is a string for `/bin/sh -c`. Default: false.
        #[schemars(title = "Shell", example = true)]
        shell: bool,
        /// From one run, or tick, to the next. In mode `stream` without `trigger`: how often it is
        /// expected to print, which may be left out. Default: 60s.
        #[schemars(title = "Interval", example = &"30s")]
        interval: Span,
        /// When to run, by the calendar, instead of `interval`: minute, hour, day of month, month,
        /// day of week; with six fields seconds come first.
        #[schemars(title = "Cron expression", example = &"*/5 * * * *")]
        cron: String,
        /// The time zone of `cron`. Default: the system's.
        #[schemars(title = "Time zone", example = &"Europe/Madrid")]
        timezone: String,
        /// Run at full multiples of the interval on the clock, instead of at a moment of the
        /// plugin's own that spreads the load. Default: false.
        #[schemars(title = "Align", example = true)]
        align: bool,
        /// How long a run, or the answer to a tick, may take. Default: the smaller of 90 % of the
        /// interval and 30 s.
        #[schemars(title = "Timeout", example = &"10s")]
        timeout: Span,
        /// From TERM to KILL when a run is stopped. Default: 2s.
        #[schemars(title = "Grace", example = &"2s")]
        grace: Span,
        /// What the plugin prints. Default: json.
        #[schemars(title = "Format", example = &"json")]
        format: Format,
        /// Whether it is started for each run (`interval`), or once and kept (`stream`): its lines
        /// are reported as they come, and its standard input stays open until it is to stop.
        /// Default: interval.
        #[schemars(title = "Mode", example = &"interval")]
        mode: RawMode,
        /// What makes a plugin of mode `stream` report: `tick` writes a line to its standard input
        /// at each due time, which it answers with one. Default: it prints when it likes.
        #[schemars(title = "Trigger", example = &"tick")]
        trigger: RawTrigger,
        /// Settings for the plugin: it finds them as JSON on its standard input and in the file
        /// named by `TALAIA_CONFIG`. A table `{ env = "…" }` or `{ file = "…" }` anywhere inside
        /// becomes the secret that it names.
        #[schemars(title = "Plugin settings", example = serde_json::json!({"mounts": ["/", "/home"], "password": {"file": "/etc/talaia/db.pw"}}))]
        config: Settings,
        /// Environment variables; `{ env = "…" }` and `{ file = "…" }` name secrets.
        #[schemars(title = "Environment", example = serde_json::json!({"LC_ALL": "C"}))]
        env: Table<At<EnvText>>,
        /// Variables handed on from the agent's own environment.
        #[schemars(title = "Environment handed on", example = ["SSH_AUTH_SOCK"])]
        pass_env: Vec<At<String>>,
        /// Tags added to each of its metrics; a metric's own tags win.
        #[schemars(title = "Tags", example = serde_json::json!({"tier": "db"}))]
        tags: Table<At<String>>,
        /// A JSON Schema for what it prints, relative to this file.
        #[schemars(title = "Schema file", example = &"disk.schema.json")]
        schema: String,
        /// Whether metrics that are not declared are refused. Default: false.
        #[schemars(title = "Strict", example = true)]
        strict: bool,
        /// The metrics it declares, by name.
        #[schemars(title = "Declared metrics", example = serde_json::json!({"disk_used": {"type": "percent", "label": "Disk used"}}))]
        metrics: Table<RawMetric>,
        /// Run it only where all of this holds; elsewhere it is skipped without an error.
        #[schemars(title = "Only when", example = serde_json::json!({"exists": "/dev/sda"}))]
        when: RawWhen,
        /// What a run may use.
        #[schemars(title = "Limits", example = serde_json::json!({"stdout": "1MiB"}))]
        limits: RawLimits,
        /// What happens to processes that a run leaves behind. Default: kill.
        #[schemars(title = "Leftovers", example = &"kill")]
        leftovers: Leftovers,
        /// What a run finds on its standard input: its settings, nothing at all (`null`), or a pipe
        /// that stays open. Not for mode `stream`. Default: config.
        #[schemars(title = "Standard input", example = &"config")]
        stdin: Stdin,
        /// The user to run as, by name or number; takes an agent that is root. Its groups are those
        /// of the system's group file, and `HOME` and `USER` are its own. Default: the agent's user.
        #[schemars(title = "User", example = &"nobody")]
        user: String,
        /// The group to run as, by name or number. Default: that of the `user`.
        #[schemars(title = "Group", example = &"nogroup")]
        group: String,
        /// How far it stands back for other processes, -20 to 19; less than 0 takes an agent that
        /// is root. Default: as the agent.
        #[schemars(title = "Niceness", range(min = -20, max = 19), example = 10)]
        nice: i32,
        /// Whether setuid programs such as `sudo` give it nothing. Default: true where it has a
        /// `user`, `group`, `nice`, `isolate` or one of the system's limits, else false.
        #[schemars(title = "No new privileges", example = true)]
        no_new_privs: bool,
        /// Whether it gets a cgroup of its own, so that nothing that it starts can outlive a run.
        /// Plugins with `limits.memory` or `limits.processes` get one anyway. Default: false.
        #[schemars(title = "Isolate", example = true)]
        isolate: bool,
        /// A jq filter that turns its JSON into metrics (in a later version).
        #[schemars(title = "Filter", example = &"{load1: .load[0]}")]
        jq: String,
        /// The key that a hub gave the plugin when it was registered.
        #[schemars(title = "Plugin key", example = &"0b7cf2d0-6a1c-4b1e-9d55-0c1e6a1f2b3c")]
        key: String,
        /// Whether it runs at all. Default: true.
        #[schemars(title = "Enabled", example = false)]
        enabled: bool,
    }
}

section! {
    /// A package that `talaia plugin install` brought.
    #[schemars(title = "Package", rename = "Package")]
    RawPackage {
        /// Which of the installed versions is used. `talaia plugin upgrade` and `rollback` write it.
        #[schemars(title = "Version", example = &"0.1.0")]
        version: String,
        /// The key that a hub gave the package when it was registered.
        #[schemars(title = "Plugin key", example = &"0b7cf2d0-6a1c-4b1e-9d55-0c1e6a1f2b3c")]
        key: String,
        /// Whether its plugins run at all. Default: true.
        #[schemars(title = "Enabled", example = false)]
        enabled: bool,
        /// Its settings; each key goes before the package's own default.
        #[schemars(title = "Package settings", example = serde_json::json!({"interface": "eth0"}))]
        config: Settings,
        /// What of its commands is to be otherwise than the package says: the keys of a plugin, but
        /// `command` and `config`.
        #[schemars(title = "Commands", example = serde_json::json!({"netstat": {"interval": "30s"}}))]
        commands: Table<RawTable>,
    }
}

/// A table that is read once it is known what else belongs to it.
#[derive(Clone)]
pub(super) struct RawTable(pub(super) Node);

impl Read for RawTable {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        Settings::read(node, found).map(|Settings(node)| Self(node))
    }
}

impl JsonSchema for RawTable {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        RawPlugin::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        RawPlugin::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RawPlugin::json_schema(generator)
    }
}

section! {
    /// What a plugin promises about one of its metrics.
    #[schemars(title = "Declared metric", rename = "DeclaredMetric")]
    RawMetric {
        /// The type of its values; one that does not fit is refused. Default: none, it has to be
        /// given.
        #[schemars(title = "Type", example = &"percent")]
        r#type: MetricWord,
        /// The unit; for a counter that of the count itself. Default: what the plugin says, and `%`
        /// for `percent`.
        #[schemars(title = "Unit", example = &"B")]
        unit: String,
        /// A readable name. Default: what the plugin says, else the name.
        #[schemars(title = "Label", example = &"Disk used")]
        label: String,
        /// Whether a run that does not print it gets a warning. Default: false.
        #[schemars(title = "Required", example = true)]
        required: bool,
        /// Where it gets worrying: above a number, or a Nagios range (`10:` below 10, `10:20`
        /// outside, `@10:20` inside). For drawing: nothing is refused by it.
        #[schemars(title = "Warning threshold", example = 80)]
        warn: Mark,
        /// Where it gets critical, as `warn`.
        #[schemars(title = "Critical threshold", example = &"@90:100")]
        crit: Mark,
        /// The least possible value. For drawing: nothing is refused by it.
        #[schemars(title = "Least value", example = 0)]
        min: f64,
        /// The greatest possible value. For drawing: nothing is refused by it.
        #[schemars(title = "Greatest value", example = 100)]
        max: f64,
        /// The only texts that a metric of type `string` may have; any other is refused.
        #[schemars(title = "Values", example = &["up", "down"])]
        values: Vec<At<String>>,
    }
}

section! {
    /// Conditions for running a plugin; all of those given must hold.
    #[schemars(title = "Condition", rename = "When")]
    RawWhen {
        /// A path, or several of which all must exist; relative to this file.
        #[schemars(title = "Existing path", example = &"/dev/sda")]
        exists: OneOrMore,
        /// A command, or several, that must be found on the plugin's search path.
        #[schemars(title = "Existing command", example = &"smartctl")]
        command_exists: OneOrMore,
        /// The operating system, or several of which one must fit.
        #[schemars(title = "Operating system", example = &"linux")]
        os: OneOrMore,
        /// The host's name, or several patterns with `*` and `?` of which one must fit.
        #[schemars(title = "Host", example = &"web-*")]
        host: OneOrMore,
    }
}

section! {
    /// What a run may use.
    #[schemars(title = "Limits", rename = "Limits")]
    RawLimits {
        /// Most bytes of a run's standard output that are read. Default: 1MiB.
        #[schemars(title = "Standard output", example = &"1MiB")]
        stdout: Size,
        /// Longest line of a plugin of mode `stream`; the rest of a longer one is thrown away.
        /// Default: 64KiB, and 1MiB with `trigger`.
        #[schemars(title = "Line", example = &"64KiB")]
        line: Size,
        /// Most memory of the plugin and all that it starts, where there is a cgroup for it; else
        /// of each process alone. Default: no limit.
        #[schemars(title = "Memory", example = &"256MiB")]
        memory: Size,
        /// Most processor time of each process, in whole seconds. Default: no limit.
        #[schemars(title = "Processor time", example = &"5s")]
        cpu: Span,
        /// Most open files of each process. Default: no limit.
        #[schemars(title = "Open files", example = 64)]
        files: u32,
        /// Largest file that it can write. Default: no limit.
        #[schemars(title = "File size", example = &"100MiB")]
        file_size: Size,
        /// Most processes and threads at one time. Takes a cgroup, or a `user` that nothing else
        /// has. Default: no limit.
        #[schemars(title = "Processes", example = 32)]
        processes: u32,
    }
}

section! {
    /// A hub, on this machine or another.
    #[schemars(title = "Hub output", rename = "HubOutput")]
    RawTalaia {
        /// Always `talaia`. Default: none, it has to be given.
        #[schemars(title = "Type", example = &"talaia")]
        r#type: TalaiaWord,
        /// The hub's address. Default: none, it has to be given.
        #[schemars(title = "Address", example = &"https://hub.example.org")]
        url: String,
        /// The account's key, by `{ env = "…" }` or `{ file = "…" }`; never in clear. Default: none,
        /// it has to be given.
        #[schemars(title = "Key", example = serde_json::json!({"env": "TALAIA_KEY"}))]
        key: SecretSource,
        /// Longest time that reports wait for company. Default: 10s.
        #[schemars(title = "Interval", example = &"10s")]
        interval: Span,
        /// Longest time for one upload. Default: 30s.
        #[schemars(title = "Timeout", example = &"30s")]
        timeout: Span,
        /// How uploads are compressed. Default: zstd.
        #[schemars(title = "Compression", example = &"zstd")]
        compression: Compression,
        /// A file with the certificates (PEM) to trust instead of the system's; relative to this
        /// file.
        #[schemars(title = "Own authority", example = &"/etc/talaia/ca.pem")]
        ca: String,
        /// A file with the agent's own certificate (PEM); needs `cert_key`.
        #[schemars(title = "Client certificate", example = &"/etc/talaia/agent.pem")]
        cert: String,
        /// The file with that certificate's private key (PEM).
        #[schemars(title = "Client key", example = &"/etc/talaia/agent.key")]
        cert_key: String,
        /// `true` for the proxy of the environment, `false` for none, or the proxy's address.
        /// Default: true.
        #[schemars(title = "Proxy", example = false)]
        proxy: RawProxy,
        /// Where a new output begins: with what comes from now on, or with the oldest report still
        /// kept. Default: now.
        #[schemars(title = "Start", example = &"oldest")]
        start: Start,
    }
}

section! {
    /// A file with one report per line.
    #[schemars(title = "File output", rename = "FileOutput")]
    RawFile {
        /// Always `file`. Default: none, it has to be given.
        #[schemars(title = "Type", example = &"file")]
        r#type: FileWord,
        /// The file, relative to this one. Default: none, it has to be given.
        #[schemars(title = "Path", example = &"/var/log/talaia/reports.ndjson")]
        path: String,
        /// A file of this size is put aside and a new one begun. Default: 64MiB.
        #[schemars(title = "Rotate", example = &"64MiB")]
        rotate: Size,
        /// How many files put aside are kept. Default: 4.
        #[schemars(title = "Keep", example = 4)]
        keep: u32,
        /// Where a new output begins. Default: now.
        #[schemars(title = "Start", example = &"now")]
        start: Start,
    }
}

section! {
    /// Reports on standard output, one per line.
    #[schemars(title = "Standard output", rename = "StdoutOutput")]
    RawStdout {
        /// Always `stdout`. Default: none, it has to be given.
        #[schemars(title = "Type", example = &"stdout")]
        r#type: StdoutWord,
    }
}

section! {
    /// The embedded hub.
    #[schemars(title = "Embedded hub", rename = "Hub")]
    RawHub {
        /// Whether it runs. Default: only while there are no outputs.
        #[schemars(title = "Enabled", example = true)]
        enabled: bool,
        /// Address and port; port 0 lets the system choose. Default: 127.0.0.1:7180.
        #[schemars(title = "Listen address", example = &"127.0.0.1:7180")]
        listen: String,
        /// Host names, besides those of this machine's loopback, under which the pages may be
        /// asked for.
        #[schemars(title = "Host names", example = ["hub.example.org"])]
        hosts: Vec<At<String>>,
        /// Most bytes of results kept; beyond, the oldest are dropped. Default: 1GiB.
        #[schemars(title = "Quota", example = &"1GiB")]
        quota: Size,
        /// Whether old Monitis clients may read with the account's public `apikey` alone, as they do.
        /// Without it their reads must be signed as their changes are. Default: true.
        #[schemars(title = "Monitis reads", example = false)]
        monitis_reads: bool,
        /// Results older than this are dropped; `false` keeps them until the quota is reached.
        /// Default: 400d.
        #[schemars(title = "Retention", example = &"400d")]
        retention: SpanOrOff,
        /// Speak HTTPS with this certificate. Default: plain HTTP, for this machine alone.
        #[schemars(title = "TLS", example = serde_json::json!({"cert": "/etc/talaia/hub.pem", "key": "/etc/talaia/hub.key"}))]
        tls: RawHubTls,
    }
}

section! {
    /// A hub, what opens it, and the outputs of a run.
    #[schemars(title = "Profile", rename = "Profile")]
    RawProfile {
        /// The hub that commands talk to. Default: that of the data folder.
        #[schemars(title = "Address", example = &"https://hub.example.org")]
        hub: String,
        /// The hub's key, by `{ env = "…" }` or `{ file = "…" }`; never in clear.
        #[schemars(title = "Key", example = serde_json::json!({"file": "/etc/talaia/hub.key"}))]
        key: SecretSource,
        /// The account's public identifier, which opens the hub together with `secret_key` where
        /// there is no `key`.
        #[schemars(title = "API key", example = &"5Q1UJD45IM5C21MVOJGIIIREIK")]
        api_key: EnvText,
        /// The account's secret key, by `{ env = "…" }` or `{ file = "…" }`; never in clear.
        #[schemars(title = "Secret key", example = serde_json::json!({"env": "TALAIA_SECRET_KEY"}))]
        secret_key: SecretSource,
        /// A file with the certificates (PEM) to trust instead of the system's; relative to this
        /// file.
        #[schemars(title = "Own authority", example = &"/etc/talaia/ca.pem")]
        ca: String,
        /// The outputs that `talaia run --profile` has. Default: all of them; in the sandbox none
        /// but its own hub.
        #[schemars(title = "Outputs", example = ["main"])]
        outputs: Vec<At<String>>,
    }
}

section! {
    /// The certificate by which the embedded hub speaks TLS.
    #[schemars(title = "TLS", rename = "HubTls")]
    RawHubTls {
        /// A file with the hub's certificate and those that vouch for it (PEM), relative to this one.
        /// Read again when it changes.
        #[schemars(title = "Certificate", example = &"/etc/talaia/hub.pem")]
        cert: String,
        /// The file with the certificate's private key (PEM).
        #[schemars(title = "Private key", example = &"/etc/talaia/hub.key")]
        key: String,
    }
}

/// One output, by its `type`.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Output", title = "Output")]
pub(super) enum RawOutput {
    Talaia(Box<RawTalaia>),
    File(RawFile),
    Stdout(#[expect(dead_code, reason = "it has no settings beyond its type")] RawStdout),
}

const OUTPUT_TYPES: [&str; 3] = ["talaia", "file", "stdout"];
const LATER_OUTPUT_TYPES: [&str; 4] =
    ["prometheus_remote_write", "otlp", "influx", "prometheus_scrape"];

impl Read for RawOutput {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let Some(kind) = node.get("type") else {
            if matches!(node.kind, Kind::Table(_)) {
                found.push(
                    Diagnostic::error("this output has no `type`")
                        .at(&node.place)
                        .help("add one, such as `type = \"talaia\"`, `\"file\"` or `\"stdout\"`"),
                );
            } else {
                found.expected("a table", node);
            }
            return None;
        };
        match kind.text() {
            Some("talaia") => RawTalaia::read(node, found).map(Box::new).map(Self::Talaia),
            Some("file") => RawFile::read(node, found).map(Self::File),
            Some("stdout") => RawStdout::read(node, found).map(Self::Stdout),
            Some(later) if LATER_OUTPUT_TYPES.contains(&later) => {
                found.push(later_version(&format!("outputs of type `{later}`"), &kind.place));
                None
            }
            _ => {
                not_one_of(kind, &OUTPUT_TYPES, found);
                None
            }
        }
    }
}
