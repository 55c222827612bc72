//! Reports as lines, for a person or a pipe. It holds no cursor: what it misses is said, not kept.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use crate::spool::{Spool, Stored};

use super::{Condition, OutputState, Reporter, Stop, stopped};

/// Most bytes gathered before they are written.
const CHUNK: usize = 256 << 10;

/// Writes every report that gets to the disk as one line of JSON.
pub struct Stdout {
    writer: Box<dyn Write + Send>,
    reports: broadcast::Receiver<Arc<Stored>>,
    reporter: Reporter,
}

impl Stdout {
    /// Follows `spool` from now on and writes to `writer`.
    pub fn new(
        output: &str,
        spool: &Spool,
        writer: Box<dyn Write + Send>,
    ) -> (Self, watch::Receiver<OutputState>) {
        let (reporter, state) = Reporter::new(output);
        (Self { writer, reports: spool.follow(), reporter }, state)
    }

    /// Writes until it is told to stop, or nobody reads any more.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        loop {
            let first = tokio::select! {
                first = self.reports.recv() => first,
                _ = stopped(&mut stop) => return self.last().await,
            };
            let mut lines = Vec::new();
            match first {
                Ok(report) => line(&mut lines, &report),
                Err(RecvError::Lagged(missed)) => self.missed(missed),
                Err(RecvError::Closed) => return,
            }
            self.gather(&mut lines);
            let Some(back) = self.write(lines).await else { return };
            self = back;
        }
    }

    /// What is on disk already, before the end.
    async fn last(mut self) {
        let mut lines = Vec::new();
        self.gather(&mut lines);
        drop(self.write(lines).await);
    }

    fn gather(&mut self, lines: &mut Vec<u8>) {
        while lines.len() < CHUNK {
            match self.reports.try_recv() {
                Ok(report) => line(lines, &report),
                Err(TryRecvError::Lagged(missed)) => self.missed(missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }

    fn missed(&self, missed: u64) {
        let why = format!("{missed} reports were not printed: the reader is too slow");
        self.reporter.set(Condition::Retry, Some(why));
    }

    /// A reader that does not read blocks the writer, so it waits on a thread of its own.
    async fn write(mut self, lines: Vec<u8>) -> Option<Self> {
        if lines.is_empty() {
            return Some(self);
        }
        let written = tokio::task::spawn_blocking(move || {
            let done = self.writer.write_all(&lines).and_then(|()| self.writer.flush());
            (self, done)
        });
        // The closure cannot panic unless the writer does; then there is nothing to write to.
        let (back, done) = written.await.ok()?;
        match done {
            Ok(()) => Some(back),
            Err(error) => {
                back.reporter.set(Condition::Hold, Some(format!("cannot print: {error}")));
                None
            }
        }
    }
}

fn line(lines: &mut Vec<u8>, report: &Stored) {
    lines.extend_from_slice(&report.body);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use crate::model::Counts;
    use crate::spool::{NewReport, Options, QuarantineChange};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn append(spool: &Spool, n: usize) -> crate::spool::Ticket {
        let body = format!("{{\"n\":{n}}}").into_bytes();
        let counts = Counts { produced: 1, accepted: 1, rejected: [].into() };
        let plugin = "p".parse().unwrap();
        spool
            .append(NewReport {
                plugin,
                body,
                counts,
                skipped: 0,
                quarantine: QuarantineChange::default(),
            })
            .unwrap()
    }

    #[tokio::test]
    async fn every_report_on_disk_is_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(Options::new(dir.path())).unwrap();
        let written = Shared::default();
        let (stdout, state) = Stdout::new("out", &spool, Box::new(written.clone()));
        let stop = watch::Sender::new(Stop::No);
        for n in 0..20 {
            append(&spool, n).await.unwrap();
        }
        stop.send_replace(Stop::Now);
        tokio::time::timeout(Duration::from_secs(10), stdout.run(stop.subscribe())).await.unwrap();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let expected: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert!(text.ends_with('\n'));
        assert_eq!(state.borrow().state, Condition::Ok);
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn it_ends_when_nobody_reads_and_says_what_was_missed() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(Options::new(dir.path())).unwrap();
        let (stdout, state) = Stdout::new("out", &spool, Box::new(Closed));
        let stop = watch::Sender::new(Stop::No);
        append(&spool, 1).await.unwrap();
        let end = stdout.run(stop.subscribe());
        tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
        assert_eq!(state.borrow().state, Condition::Hold);

        let (stdout, state) = Stdout::new("out", &spool, Box::new(io::sink()));
        for n in 0..300 {
            drop(append(&spool, n));
        }
        append(&spool, 300).await.unwrap();
        stop.send_replace(Stop::Now);
        stdout.run(stop.subscribe()).await;
        let error = state.borrow().error.clone().unwrap();
        assert!(error.contains("45 reports"), "{error}");
    }
}
