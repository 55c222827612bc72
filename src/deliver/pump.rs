//! Moves reports from the spool to one destination, and decides what a verdict leads to.

use std::time::Duration;

use tokio::sync::watch;
// The runtime's clock, so that a test can let hours pass.
use tokio::time::Instant;
use tracing::{error, info};

use crate::model::{Refused, RefusedCode, Seq, SpoolId, Verdict, chain};
use crate::schedule::Backoff;
use crate::spool::{Identity, Spool, Stored, Window};

use super::{Condition, OutputState, Reporter, Stop, stopped};

/// Characters kept of why a report was refused.
const SAID: usize = 300;

/// Single reports refused in a row, with none delivered between them, at which it is not the
/// reports that are wrong.
const POISON: usize = 10;

/// A destination. It is given one batch at a time.
pub trait Sink: Send {
    /// Makes one attempt at a batch.
    fn send(&mut self, batch: Batch<'_>) -> impl Future<Output = Verdict> + Send;

    /// Resolves when something changed so that waiting any longer makes no sense.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Reports to send, in the order of their numbers; never empty.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Whose they are.
    pub identity: Identity,
    /// The highest number that the spool has given.
    pub highest: Seq,
    /// The reports.
    pub reports: &'a [Stored],
}

/// Is told how many records the destination has taken, once for each upload.
pub type OnDelivery = Box<dyn Fn(u64) + Send + Sync>;

/// How an output is pumped.
#[derive(Debug, Clone)]
pub struct PumpSettings {
    /// The output's name, as the spool knows it.
    pub output: String,
    /// Between two uploads, while all goes well.
    pub interval: Duration,
    /// Most reports in a batch.
    pub max_reports: usize,
    /// Most bytes of reports in a batch; a single larger report is a batch of its own.
    pub max_bytes: usize,
    /// Between attempts while the destination is not there.
    pub retry: Backoff,
    /// Between attempts while a person is needed.
    pub hold: Backoff,
}

impl PumpSettings {
    /// The defaults: uploads 10 s apart of at most 1000 reports and 4 MiB; retries 1 s to 5 min
    /// apart, a held output 5 s to 5 min.
    pub fn new(output: impl Into<String>) -> Self {
        Self {
            output: output.into(),
            interval: Duration::from_secs(10),
            max_reports: 1000,
            max_bytes: 4 << 20,
            retry: Backoff::upload(),
            hold: Backoff::new(Duration::from_secs(5), Duration::from_mins(5)),
        }
    }
}

/// One output's way out of the spool.
pub struct Pump<S> {
    spool: Spool,
    settings: PumpSettings,
    sink: S,
    reporter: Reporter,
    on_delivery: Option<OnDelivery>,
    durable: watch::Receiver<Seq>,
    /// The stream that all below is about.
    stream: SpoolId,
    /// Everything up to here was sent and settled, or is in `refused`.
    position: Seq,
    /// Reports refused alone and not settled: whether it is them or the destination is not known
    /// until one is delivered.
    refused: Vec<Refused>,
    /// How many of them are poison in the words of the destination, not just too large.
    poison: usize,
    /// Ends of the ranges still to be tried apart, the next one last.
    bounds: Vec<Seq>,
    /// What a batch may be at most, after the destination found one too large.
    max_reports: usize,
    max_bytes: usize,
    /// Identities taken in a row without a delivery.
    clones: u32,
    next: Instant,
    /// Whether nothing has been tried yet.
    first: bool,
}

/// What is to be done after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next batch.
    More,
    /// Nothing until there is more in the spool.
    Idle,
    /// Another attempt after a while.
    Wait(Duration),
}

impl<S: Sink> Pump<S> {
    /// A pump and its state. The spool must know the output (`Spool::set_outputs`).
    pub fn new(
        spool: Spool,
        settings: PumpSettings,
        sink: S,
    ) -> (Self, watch::Receiver<OutputState>) {
        let (reporter, state) = Reporter::new(&settings.output);
        // Agents that start together do not send together.
        let first = settings.interval.min(Duration::from_secs(1)).mul_f64(rand::random());
        let pump = Self {
            durable: spool.durable(),
            stream: spool.id(),
            position: Seq(0),
            refused: Vec::new(),
            poison: 0,
            bounds: Vec::new(),
            max_reports: settings.max_reports,
            max_bytes: settings.max_bytes,
            clones: 0,
            next: Instant::now() + first,
            first: true,
            spool,
            settings,
            sink,
            reporter,
            on_delivery: None,
        };
        (pump, state)
    }

    /// The same, which tells of its deliveries.
    #[must_use]
    pub fn telling(self, on_delivery: OnDelivery) -> Self {
        Self { on_delivery: Some(on_delivery), ..self }
    }

    /// Delivers until it is told to stop. Dropping this future at any moment is safe: what has no
    /// receipt is sent again.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        loop {
            let ending = tokio::select! {
                biased;
                ending = stopped(&mut stop) => Some(ending),
                () = self.pause() => None,
            };
            if let Some(ending) = ending {
                return self.finish(ending).await;
            }
            let ending = {
                let drain = self.drain();
                tokio::pin!(drain);
                let ending = tokio::select! {
                    () = &mut drain => continue,
                    ending = stopped(&mut stop) => ending,
                };
                // A batch on its way may still arrive.
                let Stop::Draining { until } = ending else { return };
                if tokio::time::timeout_at(until.into(), drain).await.is_err() {
                    return;
                }
                ending
            };
            return self.finish(ending).await;
        }
    }

    /// One last attempt, which nothing depends on.
    async fn finish(&mut self, ending: Stop) {
        if let Stop::Draining { until } = ending {
            // Whatever has not arrived by then stays in the spool.
            drop(tokio::time::timeout_at(until.into(), self.drain()).await);
        }
    }

    /// Waits until it is time for an attempt: for the interval and for something to send, or, after
    /// a failure, for the delay to pass or the cause to change.
    async fn pause(&mut self) {
        let failing = self.reporter.state.borrow().state != Condition::Ok;
        tokio::select! {
            () = tokio::time::sleep_until(self.next) => {}
            () = self.sink.changed(), if failing => return,
        }
        let (position, stream) = (self.position, self.stream);
        if !failing && self.bounds.is_empty() && self.spool.id() == stream {
            // The sender lives as long as the spool that we hold.
            let spool = self.spool.clone();
            // Another file counts from the start again.
            let there_is_more = |durable: &Seq| *durable > position || spool.id() != stream;
            self.durable.wait_for(there_is_more).await.ok();
        }
    }

    /// Sends all there is now, or up to the first failure, and sets when to try next. What gets to
    /// the disk meanwhile waits for the next time: otherwise a busy spool would be uploaded in
    /// crumbs, without a pause.
    async fn drain(&mut self) {
        let goal = self.spool.highest();
        loop {
            let delay = match self.step().await {
                Step::More if self.position < goal || !self.bounds.is_empty() => continue,
                // The first comes soon, for whoever waits for it; those after it no more together.
                Step::More | Step::Idle if std::mem::take(&mut self.first) => {
                    self.settings.interval.mul_f64(rand::random())
                }
                Step::More | Step::Idle => self.settings.interval,
                Step::Wait(delay) => delay,
            };
            self.next = Instant::now() + delay;
            return;
        }
    }

    /// One batch.
    async fn step(&mut self) -> Step {
        let identity = Identity { spool: self.spool.id(), agent: self.spool.agent_id() };
        if identity.spool != self.stream {
            self.stream = identity.spool;
            self.rewind();
        }
        // Read before the batch, so that what comes meanwhile is not taken for seen.
        let highest = self.spool.highest();
        let reports = match self.read().await {
            Ok(reports) => reports,
            Err(why) => return self.retry(None, why),
        };
        let Some(last) = reports.last().map(|r| r.seq) else {
            if self.bounds.pop().is_some() {
                // The range was evicted meanwhile.
                return Step::More;
            }
            self.position = self.position.max(highest);
            return Step::Idle;
        };
        // A report can be read a moment before the spool says that it is on disk; a mark at such a
        // one is no sign of a copy.
        let highest = self.spool.highest().max(last);
        let batch = Batch { identity, highest, reports: &reports };
        match self.sink.send(batch).await {
            Verdict::Delivered { refused } => self.delivered(&reports, last, refused).await,
            Verdict::Ahead => {
                self.reporter.set(Condition::Ok, None);
                self.after(last)
            }
            Verdict::Retry { after, why } => self.retry(after, why),
            Verdict::Hold { why } => self.hold(why),
            Verdict::Split => self.split(&reports).await,
            Verdict::Bisect { why } => self.bisect(&reports, &why),
            Verdict::Cloned => self.cloned(identity.spool).await,
        }
    }

    async fn read(&self) -> Result<Vec<Stored>, String> {
        let spool = self.spool.clone();
        let output = self.settings.output.clone();
        let window = Window {
            after: self.position,
            through: self.bounds.last().copied(),
            max_reports: self.max_reports,
            max_bytes: self.max_bytes,
        };
        match tokio::task::spawn_blocking(move || spool.read(&output, window)).await {
            Ok(read) => read.map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn delivered(&mut self, sent: &[Stored], last: Seq, refused: Vec<Refused>) -> Step {
        let taken = sent.iter().filter(|sent| refused.iter().all(|r| r.seq != sent.seq));
        let taken = taken.map(|sent| sent.records).sum();
        let mut all = self.refused.clone();
        all.extend(refused);
        // It works, and a person should hear of what it does not take.
        let note = all.first().map(|first| {
            let said: String = first.message.chars().take(SAID).collect();
            format!("{} of the last reports were refused: {said}", all.len())
        });
        if let Err(step) = self.settle(last, all).await {
            return step;
        }
        self.settings.retry.reset();
        self.settings.hold.reset();
        self.clones = 0;
        self.reporter.set(Condition::Ok, note);
        if let Some(tell) = &self.on_delivery {
            tell(taken);
        }
        // Carefully back to full size.
        self.max_reports =
            (self.max_reports + self.max_reports / 8 + 1).min(self.settings.max_reports);
        self.max_bytes = (self.max_bytes + self.max_bytes / 8 + 1).min(self.settings.max_bytes);
        self.after(last)
    }

    /// Gives the spool a receipt up to `last`.
    async fn settle(&mut self, last: Seq, refused: Vec<Refused>) -> Result<(), Step> {
        let n = refused.len();
        let verdict = Verdict::Delivered { refused };
        let Ok(receipt) = verdict.receipt(&self.settings.output, last) else {
            return Ok(());
        };
        if let Err(error) = self.spool.settle(receipt).await {
            return Err(self.retry(None, chain(&error)));
        }
        if n > 0 {
            let output = &self.settings.output;
            error!(%output, reports = n, "refused by the destination; they are in quarantine");
        }
        self.refused.clear();
        self.poison = 0;
        Ok(())
    }

    /// All up to `last` is done.
    fn after(&mut self, last: Seq) -> Step {
        self.position = self.position.max(last);
        while self.bounds.last().is_some_and(|bound| *bound <= last) {
            self.bounds.pop();
        }
        if self.bounds.is_empty() && self.spool.highest() <= last { Step::Idle } else { Step::More }
    }

    fn retry(&mut self, after: Option<Duration>, why: String) -> Step {
        self.reporter.set(Condition::Retry, Some(why));
        let delay = self.settings.retry.after_failure(rand::random());
        Step::Wait(after.map_or(delay, |after| after.max(delay)))
    }

    fn hold(&mut self, why: String) -> Step {
        self.reporter.set(Condition::Hold, Some(why));
        // Between half of the delay and all of it: slow means slow.
        let draw: f64 = rand::random();
        Step::Wait(self.settings.hold.after_failure(0.5 + draw / 2.0))
    }

    /// Too large: smaller batches from now on. A single report that is too large is refused.
    async fn split(&mut self, reports: &[Stored]) -> Step {
        if let [only] = reports {
            let message = format!("the report of {} bytes is too large", only.body.len());
            let one = Refused { seq: only.seq, code: RefusedCode::TooLarge.to_string(), message };
            if !self.refused.is_empty() {
                // A receipt would pass those before it as well, of which nothing is known yet.
                self.refused.push(one);
            } else if let Err(step) = self.settle(only.seq, vec![one]).await {
                return step;
            }
            return self.after(only.seq);
        }
        let bytes: usize = reports.iter().map(|r| r.body.len()).sum();
        self.max_bytes = (bytes / 2).max(1);
        self.max_reports = (reports.len() / 2).max(1);
        Step::More
    }

    /// Something in it is poison: tries its halves, until the culprits are alone.
    fn bisect(&mut self, reports: &[Stored], why: &str) -> Step {
        if let [only] = reports {
            self.refused.push(Refused {
                seq: only.seq,
                code: RefusedCode::Refused.to_string(),
                message: why.to_owned(),
            });
            self.poison += 1;
            if self.poison < POISON {
                return self.after(only.seq);
            }
            // So many and nothing else: it is the destination, or what we say to it.
            self.rewind();
            return self.hold(format!("{POISON} reports in a row were refused, none taken: {why}"));
        }
        let (half, _) = reports.split_at(reports.len() / 2);
        for end in [reports, half] {
            if let Some(end) = end.last().map(|r| r.seq)
                && self.bounds.last() != Some(&end)
            {
                self.bounds.push(end);
            }
        }
        Step::More
    }

    /// The destination knows a later report of this stream than was ever given: another spool
    /// with the same identity sent it. This one takes a new identity and sends again.
    async fn cloned(&mut self, seen: SpoolId) -> Step {
        self.clones += 1;
        if self.clones > 2 {
            // A new stream has no mark; a destination that gives it one is mistaken.
            let why = "the destination's mark is above every number given, whatever the stream";
            return self.hold(why.to_owned());
        }
        match self.spool.new_identity(seen).await {
            Ok(fresh) => {
                info!(output = %self.settings.output, spool = %fresh, "sending again as a new stream");
                Step::More
            }
            Err(error) => self.retry(None, chain(&error)),
        }
    }

    /// Begins again at the cursor, with nothing known of what lies after it.
    fn rewind(&mut self) {
        self.position = Seq(0);
        self.refused.clear();
        self.poison = 0;
        self.bounds.clear();
    }
}

#[cfg(test)]
mod tests;
