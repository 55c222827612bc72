//! Closed lists of the words that people meet in reports, answers and logs. Each has a page in
//! `contract::explain`, which does not compile without.

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|c| c.as_str() == word).ok_or(())
            }
        }
    };
}
pub(super) use codes;

codes! {
    /// What a report warns of, before the first colon of a warning.
    WarningCode {
        /// It printed more than is read.
        StdoutCut = "stdout-cut",
        /// A line was longer than is read.
        LineCut = "line-cut",
        /// It started long after it was due.
        Late = "late",
        /// It reached a limit of the system.
        Limit = "limit",
        /// Lines that answer no tick.
        Unasked = "unasked",
        /// It does not read its ticks.
        Unread = "unread",
        /// It lives, and prints nothing.
        Silent = "silent",
        /// A long-lived plugin ended.
        Restart = "restart",
        /// A declared metric did not come.
        RequiredMissing = "required-missing",
        /// A status that is none.
        StatusUnknown = "status-unknown",
        /// A message that is no text.
        MessageInvalid = "message-invalid",
        /// A message that is too long.
        MessageCut = "message-cut",
        /// A key that means nothing where it stands.
        KeyUnknown = "key-unknown",
        /// A metric says another type than is declared.
        TypeDiffers = "type-differs",
        /// A metric comes in another unit than is declared.
        UnitDiffers = "unit-differs",
        /// An undeclared metric changed its type.
        TypeChanged = "type-changed",
        /// A document's tags cannot be used.
        DocumentTags = "document-tags",
        /// A document's time cannot be used.
        DocumentTime = "document-time",
        /// There were more warnings than are spelt out.
        MoreWarnings = "more-warnings",
        /// `talaia emit` refused what it was given.
        EmitRefused = "emit-refused",
        /// What looks like its records is on stderr.
        StderrOnly = "stderr-only",
        /// A command that its `PATH` does not have.
        CommandMissing = "command-missing",
        /// A library that its interpreter does not have.
        ModuleMissing = "module-missing",
        /// `sudo` asks for a password that nobody can type.
        SudoPassword = "sudo-password",
        /// Its user may not do what it does.
        PermissionDenied = "permission-denied",
        /// The script has Windows line ends.
        DosLines = "dos-lines",
        /// A tool for numbers met a decimal comma.
        DecimalComma = "decimal-comma",
        /// It had printed several records and had not ended.
        NeverEnds = "never-ends",
        /// It does nothing visible until it is ended.
        Waits = "waits",
        /// A run had more refused records than are kept.
        QuarantineFull = "quarantine-full",
        /// A minute had more refused records than are kept.
        QuarantineCut = "quarantine-cut",
        /// A minute had more refused records than are told.
        RejectionsCut = "rejections-cut",
    }
}

codes! {
    /// What a piece of advice is about; what is most serious comes first.
    AdviceCode {
        /// It printed nothing at all.
        NothingPrinted = "nothing-printed",
        /// A key of a metric object where every key is a metric.
        KeyAsMetric = "key-as-metric",
        /// A status of the run that became a metric.
        VerdictAsMetric = "verdict-as-metric",
        /// A metric that changes its type.
        TypeFlips = "type-flips",
        /// A text that is a number with something behind it.
        NumberInText = "number-in-text",
        /// A whole number written with an exponent.
        DigitsLost = "digits-lost",
        /// A counter that went down.
        CounterFalls = "counter-falls",
        /// A tag that has another value in each run.
        TagGrows = "tag-grows",
        /// The same metric came in several units.
        UnitVaries = "unit-varies",
        /// Half a byte.
        BytesAsFloat = "bytes-as-float",
        /// A percentage between 0 and 1.
        PercentAsFraction = "percent-as-fraction",
        /// Series that come in some runs and not in others.
        SeriesUnsteady = "series-unsteady",
        /// It only grows, its name says that it counts, and it is no counter.
        CounterLikely = "counter-likely",
        /// The name says a unit and the metric has none.
        UnitMissing = "unit-missing",
    }
}

impl WarningCode {
    /// The warning with this code that says `text`.
    pub fn says(self, text: impl std::fmt::Display) -> String {
        format!("{self}: {text}")
    }

    /// Whether a warning has this code.
    pub fn is_of(self, warning: &str) -> bool {
        warning.split_once(": ").is_some_and(|(code, _)| code == self.as_str())
    }
}

codes! {
    /// The kinds of [`Outcome`](super::Outcome).
    OutcomeKind {
        /// The program ended by itself.
        Exited = "exited",
        /// A signal that the agent did not send ended it.
        Signaled = "signaled",
        /// It was still running at its deadline.
        TimedOut = "timed_out",
        /// It printed more than eight times its cap.
        Flooded = "flooded",
        /// It never ran.
        NotStarted = "not_started",
        /// The agent was stopping, or reloading without this plugin.
        Stopped = "stopped",
        /// A long-lived plugin answered a tick, or this is a slice of its lines.
        Answered = "answered",
    }
}

codes! {
    /// Why a destination will never take a report.
    RefusedCode {
        /// The hub does not take the plugin's key.
        PluginKey = "plugin-key",
        /// The monitor is suspended.
        MonitorSuspended = "monitor-suspended",
        /// The report alone is too large for the destination.
        TooLarge = "too-large",
        /// The destination says that it will never take it.
        Refused = "refused",
    }
}

codes! {
    /// Why a record left the spool undelivered.
    Evicted {
        /// The spool was over its quota.
        Quota = "quota",
        /// It was older than `max_age`.
        Age = "age",
        /// The file system was short of space.
        DiskFull = "disk_full",
        /// The disk gave it back changed, or the file was damaged.
        Damaged = "damaged",
        /// The destination will never take it; it is in quarantine.
        Refused = "refused",
        /// The output was taken out of the config.
        OutputRemoved = "output_removed",
    }
}

codes! {
    /// Why a hub's API does not do what it is asked.
    ProblemCode {
        /// No key came, or none that can be read.
        Unauthorized = "unauthorized",
        /// The hub never gave this key.
        KeyUnknown = "key-unknown",
        /// The key was ended.
        KeyRevoked = "key-revoked",
        /// The key's time is over.
        KeyExpired = "key-expired",
        /// A signed request does not hold.
        Signature = "signature",
        /// The account is refused.
        AccountDisabled = "account-disabled",
        /// The key is good, and not for this.
        Scope = "scope",
        /// Only reviewers may.
        Reviewer = "reviewer",
        /// The hub is not called by this name.
        Host = "host",
        /// A form came from another site's page.
        CrossSite = "cross-site",
        /// The path does not take this method.
        Method = "method",
        /// There is no such path.
        NotFound = "not-found",
        /// A parameter cannot be used.
        Parameter = "parameter",
        /// Another version of the protocol.
        Protocol = "protocol",
        /// The body is of a kind that cannot be read.
        MediaType = "media-type",
        /// The body is not JSON.
        JsonSyntax = "json-syntax",
        /// The body cannot be unpacked.
        Encoding = "encoding",
        /// The body is JSON of another shape.
        Shape = "shape",
        /// There is no such form.
        Form = "form",
        /// The body is over its limit.
        TooLarge = "too-large",
        /// The body ended early.
        CutShort = "cut-short",
        /// The request did not come in time.
        Slow = "slow",
        /// The answer would take too long.
        TooLong = "too-long",
        /// The hub cannot do it now.
        Busy = "busy",
        /// The hub's store failed.
        Store = "store",
        /// The hub has no room on its disk.
        DiskFull = "disk-full",
        /// Two spools send the same stream.
        Cloned = "cloned",
        /// No report has told the contract.
        ContractUnknown = "contract-unknown",
        /// There is no such key.
        NoKey = "no-key",
        /// The keys do not allow it.
        Key = "key",
        /// The name is taken.
        MonitorExists = "monitor-exists",
        /// There is no such monitor.
        MonitorUnknown = "monitor-unknown",
        /// Several monitors have the name.
        MonitorAmbiguous = "monitor-ambiguous",
        /// A monitor cannot be like this.
        MonitorInvalid = "monitor-invalid",
        /// The monitor has results.
        MonitorUsed = "monitor-used",
        /// The monitor takes no results.
        MonitorSuspended = "monitor-suspended",
        /// Results that the monitor does not take.
        ResultsRefused = "results-refused",
        /// There is no such package.
        NoPackage = "no-package",
        /// The package or its state does not allow it.
        Package = "package",
        /// The body is no package's archive.
        Archive = "archive",
        /// The registry has no room.
        Full = "full",
        /// A stored archive is damaged.
        Damaged = "damaged",
        /// The registry's key cannot be used.
        RegistryKey = "registry-key",
        /// The registry has no index yet.
        NoIndex = "no-index",
    }
}

codes! {
    /// What the hub's audit log tells.
    AuditAction {
        /// A key was made.
        KeyCreate = "key.create",
        /// A key was put in the place of another.
        KeyRotate = "key.rotate",
        /// A key was ended.
        KeyRevoke = "key.revoke",
        /// A plugin was registered.
        PluginKeyCreate = "plugin-key.create",
        /// A registered plugin's key was ended.
        PluginKeyRevoke = "plugin-key.revoke",
        /// The account got another secret key.
        SecretKeyRotate = "secret-key.rotate",
        /// All sessions were ended.
        SessionEnd = "session.end",
        /// An account was made.
        AccountCreate = "account.create",
        /// An account was disabled.
        AccountDisable = "account.disable",
        /// An account was enabled again.
        AccountEnable = "account.enable",
        /// A monitor was made.
        MonitorCreate = "monitor.create",
        /// A monitor was changed.
        MonitorEdit = "monitor.edit",
        /// A monitor was suspended.
        MonitorSuspend = "monitor.suspend",
        /// A monitor takes results again.
        MonitorActivate = "monitor.activate",
        /// A monitor was removed, or results of it.
        MonitorDelete = "monitor.delete",
        /// A package's name was registered.
        PackageRegister = "package.register",
        /// A version was uploaded.
        PackageUpload = "package.upload",
        /// A version was handed in.
        PackageSubmit = "package.submit",
        /// A reviewer took a version.
        PackageReview = "package.review",
        /// A reviewer ran a version.
        PackageTrial = "package.trial",
        /// A version was given out.
        PackageApprove = "package.approve",
        /// A version was turned down.
        PackageReject = "package.reject",
        /// A version was taken back.
        PackageWithdraw = "package.withdraw",
        /// The registry's key was changed.
        RegistryRotate = "registry.rotate",
    }
}
