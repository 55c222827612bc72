//! Reading the configuration again, beside everything else.
//!
//! A configuration may lie on a network mount that hangs: it is read on a thread of its own, one
//! reading at a time, and signals, status and a stop do not wait for it. Who asks while a reading is
//! under way may have changed a file that it read already, so all of them get the next one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Loaded;

use super::reload::Changes;

/// How long a reading may take before it is said to hang.
const SLOW: Duration = Duration::from_secs(10);

/// Most who wait for the next reading; who comes then is told so.
const WAITING: usize = 64;

/// Reads the configuration. The error is for a person.
pub(super) type Load = Arc<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// What a reload came to.
pub(super) type Outcome = Result<Changes, String>;

/// Why the old configuration goes on, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotReloaded {
    /// The new one is not taken.
    #[error("{0}")]
    Refused(String),
    /// It is still being read, and may be taken up later.
    #[error("{0}")]
    Hangs(String),
}

/// Who asked for a reload.
pub(super) enum Asker {
    /// A signal: the log is told.
    Signal,
    /// Somebody at the admin socket.
    Person(oneshot::Sender<Result<Changes, NotReloaded>>),
}

/// Those who asked before a reading began.
pub(super) struct Askers(Vec<Asker>);

impl Askers {
    /// Tells those who are at the other end; whether the log is to be told as well.
    pub(super) fn answer(self, outcome: &Outcome) -> bool {
        let mut log = false;
        for asker in self.0 {
            match asker {
                Asker::Signal => log = true,
                // Who asked may have gone away meanwhile.
                Asker::Person(reply) => {
                    drop(reply.send(outcome.clone().map_err(NotReloaded::Refused)));
                }
            }
        }
        log
    }
}

/// The reading under way, and who waits for the next.
pub(super) struct Reloads {
    load: Load,
    slow: Duration,
    under_way: Option<Reading>,
    waiting: Vec<Asker>,
}

struct Reading {
    task: JoinHandle<Result<Loaded, String>>,
    askers: Vec<Asker>,
    since: Instant,
    said_slow: bool,
}

impl Reloads {
    pub(super) fn new(load: Load) -> Self {
        Self { load, slow: SLOW, under_way: None, waiting: Vec::new() }
    }

    /// Has the configuration read, now or after the reading under way.
    pub(super) fn ask(&mut self, asker: Asker) {
        let hangs = self.under_way.as_ref().is_some_and(|reading| reading.said_slow);
        match asker {
            Asker::Person(reply) if hangs || self.waiting.len() >= WAITING => {
                // Who asked may have gone away meanwhile.
                drop(reply.send(Err(NotReloaded::Hangs(self.why_not()))));
            }
            // One signal waits for all.
            Asker::Signal if self.waiting.iter().any(|a| matches!(a, Asker::Signal)) => {}
            asker => self.waiting.push(asker),
        }
        self.start();
    }

    /// Begins a reading where somebody waits for one and none is under way. Whether it did.
    pub(super) fn start(&mut self) -> bool {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return false;
        }
        let load = Arc::clone(&self.load);
        self.under_way = Some(Reading {
            task: tokio::task::spawn_blocking(move || load()),
            askers: std::mem::take(&mut self.waiting),
            since: Instant::now(),
            said_slow: false,
        });
        true
    }

    /// What was read, once it is; for ever pending while nobody asked. May be dropped at any time.
    pub(super) async fn finished(&mut self) -> (Result<Loaded, String>, Askers) {
        loop {
            let Some(reading) = &mut self.under_way else { return std::future::pending().await };
            tokio::select! {
                read = &mut reading.task => {
                    let askers = std::mem::take(&mut reading.askers);
                    self.under_way = None;
                    let defect = |e| format!("reading it ended by a defect: {e}");
                    return (read.map_err(defect).flatten(), Askers(askers));
                }
                () = tokio::time::sleep_until(reading.since + self.slow), if !reading.said_slow => {
                    reading.said_slow = true;
                    self.say_slow();
                }
            }
        }
    }

    /// Nobody at the socket is left waiting for a mount that may never come back.
    fn say_slow(&mut self) {
        let why = self.why_not();
        tracing::warn!("{why}");
        let asked = self.under_way.as_mut().map(|reading| &mut reading.askers);
        for askers in asked.into_iter().chain([&mut self.waiting]) {
            let signals = askers.extract_if(.., |asker| matches!(asker, Asker::Signal)).collect();
            for asker in std::mem::replace(askers, signals) {
                if let Asker::Person(reply) = asker {
                    drop(reply.send(Err(NotReloaded::Hangs(why.clone()))));
                }
            }
        }
        // What comes of it after all is for the log.
        if let Some(reading) = &mut self.under_way
            && reading.askers.is_empty()
        {
            reading.askers.push(Asker::Signal);
        }
    }

    fn why_not(&self) -> String {
        let seconds =
            self.under_way.as_ref().map_or(0, |reading| reading.since.elapsed().as_secs());
        format!(
            "a reload has been reading the configuration for {seconds} s, and the old one goes on \
             meanwhile; does a mount hang, or is a file of it a pipe?"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    /// A configuration that is read when the test says so.
    fn reloads() -> (Reloads, mpsc::Sender<String>) {
        let (say, said) = mpsc::channel::<String>();
        let said = Mutex::new(said);
        let load = move || Err(said.lock().unwrap().recv().unwrap());
        (Reloads::new(Arc::new(load)), say)
    }

    fn person() -> (Asker, oneshot::Receiver<Result<Changes, NotReloaded>>) {
        let (reply, answer) = oneshot::channel();
        (Asker::Person(reply), answer)
    }

    /// As the supervisor does.
    async fn turn(reloads: &mut Reloads) -> String {
        let (read, askers) = reloads.finished().await;
        let why = read.err().unwrap();
        askers.answer(&Err(why.clone()));
        reloads.start();
        why
    }

    #[tokio::test]
    async fn who_asks_during_a_reading_gets_the_next_one() {
        let (mut reloads, say) = reloads();
        let (first, one) = person();
        let (second, two) = person();
        reloads.ask(first);
        reloads.ask(second);
        reloads.ask(Asker::Signal);
        reloads.ask(Asker::Signal);
        say.send("old".to_owned()).unwrap();
        say.send("new".to_owned()).unwrap();
        assert_eq!(turn(&mut reloads).await, "old");
        assert_eq!(one.await.unwrap(), Err(NotReloaded::Refused("old".to_owned())));
        assert_eq!(turn(&mut reloads).await, "new");
        assert_eq!(two.await.unwrap(), Err(NotReloaded::Refused("new".to_owned())));
        assert!(reloads.under_way.is_none(), "a third reading for nobody");
    }

    #[tokio::test]
    async fn a_reading_that_hangs_leaves_nobody_waiting() {
        let (mut reloads, say) = reloads();
        reloads.slow = Duration::from_millis(20);
        let (first, one) = person();
        let (second, two) = person();
        let (third, three) = person();
        reloads.ask(first);
        reloads.ask(second);
        tokio::select! {
            _ = reloads.finished() => panic!("nothing was read yet"),
            answers = async { (one.await, two.await) } => {
                for answer in [answers.0, answers.1] {
                    let why = answer.unwrap().unwrap_err();
                    assert!(matches!(&why, NotReloaded::Hangs(_)), "{why:?}");
                    assert!(why.to_string().contains("does a mount hang"), "{why}");
                }
            }
        }
        reloads.ask(third);
        assert!(three.await.unwrap().is_err());
        say.send("late".to_owned()).unwrap();
        let (read, askers) = reloads.finished().await;
        assert_eq!(read.err().unwrap(), "late");
        assert!(askers.answer(&Err(String::new())), "what came late is for the log");
    }
}
