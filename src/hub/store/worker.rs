//! A thread that owns a connection and does one job after another, and outlives a job that panics.
//!
//! After a panic nothing that the thread owned is used again: a transaction may have been cut in
//! two, and what was learnt in it is not so. Everything is made anew from the file, at once the
//! first time; while panics follow each other, after a pause that doubles.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;

/// Jobs that wait for the thread; when as many wait, callers wait to get in line.
const WAITING: usize = 32;
/// How long a caller waits to get in line before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before the second reopening in a row, and the longest one.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After so long without a panic the next one is the first again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Makes what the thread owns from the file.
type Reopen<T> = Box<dyn FnMut() -> Result<T, StoreError> + Send>;

/// Given what the thread owns, or why there is nothing.
type Job<T> = Box<dyn FnOnce(Result<&mut T, StoreError>) + Send>;

enum Order<T> {
    Do(Job<T>),
    End(oneshot::Sender<()>),
}

/// Where to ask the thread.
pub(super) struct Worker<T>(mpsc::Sender<Order<T>>);

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread. `after` is done after each job; its answer is not waited for.
    pub(super) fn start(
        name: &'static str,
        owned: T,
        reopen: impl FnMut() -> Result<T, StoreError> + Send + 'static,
        after: fn(&mut T),
    ) -> Result<Self, StoreError> {
        let (send, mut orders) = mpsc::channel::<Order<T>>(WAITING);
        let mut keeper = Keeper {
            name,
            owned: Some(owned),
            reopen: Box::new(reopen),
            after,
            falls: 0,
            last_fall: None,
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(order) = orders.blocking_recv() {
                    match order {
                        Order::Do(job) => keeper.carry_out(job),
                        Order::End(done) => {
                            drop(keeper);
                            // Nobody waits any more: nothing to tell.
                            let _told = done.send(());
                            return;
                        }
                    }
                }
            })
            .map_err(StoreError::Thread)?;
        Ok(Self(send))
    }

    /// Has the thread do `job` and waits for what it comes to.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job<T> = Box::new(move |owned| {
            // A caller that went away does not hear the answer.
            let _heard = answer.send(owned.map(job));
        });
        match tokio::time::timeout(PATIENCE, self.0.send(Order::Do(job))).await {
            Err(_) => return Err(StoreError::Busy),
            Ok(Err(_)) => return Err(StoreError::Closed),
            Ok(Ok(())) => {}
        }
        // A job whose answer never comes was left behind by a thread that ended, or it panicked.
        answered.await.unwrap_or_else(|_| {
            Err(if self.0.is_closed() { StoreError::Closed } else { StoreError::Defect })
        })
    }

    /// Ends the thread after what is in line.
    pub(super) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.0.send(Order::End(done)).await.is_ok() {
            // An error means that it had ended already.
            let _ended = ended.await;
        }
    }
}

/// What lives on the thread.
struct Keeper<T> {
    name: &'static str,
    /// Nothing from a panic until the file was opened again.
    owned: Option<T>,
    reopen: Reopen<T>,
    after: fn(&mut T),
    /// Panics and failed openings, each soon after the one before.
    falls: u32,
    last_fall: Option<Instant>,
}

impl<T> Keeper<T> {
    fn carry_out(&mut self, job: Job<T>) {
        let after = self.after;
        let Some(owned) = self.ready() else {
            return job(Err(StoreError::Recovering));
        };
        // What a panic leaves half-done is dropped below and not looked at.
        let done = catch_unwind(AssertUnwindSafe(|| {
            job(Ok(owned));
            after(owned);
        }));
        if let Err(panic) = done {
            tracing::error!(
                thread = self.name,
                panic = words(&*panic),
                "a defect in the hub's store: the request at hand was given up, the database is opened anew"
            );
            // Closing the connection takes back what was not committed.
            self.owned = None;
            self.fell();
        }
    }

    /// What the thread owns, opened again where a panic took it and the pause is over.
    fn ready(&mut self) -> Option<&mut T> {
        if self.owned.is_none() {
            if self.last_fall.is_some_and(|at| at.elapsed() < pause(self.falls)) {
                return None;
            }
            match (self.reopen)() {
                Ok(anew) => self.owned = Some(anew),
                Err(error) => {
                    let error = crate::model::chain(&error);
                    tracing::error!(
                        thread = self.name,
                        error,
                        "the hub's database cannot be opened anew; it is tried again in a moment"
                    );
                    self.fell();
                }
            }
        }
        self.owned.as_mut()
    }

    fn fell(&mut self) {
        let now = Instant::now();
        let soon = self.last_fall.is_some_and(|at| now.duration_since(at) < FORGIVEN);
        self.falls = if soon { self.falls.saturating_add(1) } else { 1 };
        self.last_fall = Some(now);
    }
}

/// How long the file is left alone after so many falls in a row.
fn pause(falls: u32) -> Duration {
    match falls {
        0 | 1 => Duration::ZERO,
        _ => PAUSE.saturating_mul(2_u32.saturating_pow(falls - 2)).min(LONGEST_PAUSE),
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that owns how often it was opened.
    fn counting() -> Worker<u32> {
        let mut opened = 1;
        let reopen = move || {
            opened += 1;
            Ok(opened)
        };
        Worker::start("counting", 1, reopen, |_| {}).unwrap()
    }

    #[tokio::test]
    async fn a_panic_costs_the_request_at_hand_and_what_was_in_memory() {
        let worker = counting();
        assert_eq!(worker.call(|n| *n).await.unwrap(), 1);
        let lost = worker.call(|n| {
            *n = 99;
            panic!("injected")
        });
        let lost: Result<(), _> = lost.await;
        assert!(matches!(lost, Err(StoreError::Defect)), "{lost:?}");
        assert_eq!(worker.call(|n| *n).await.unwrap(), 2);
        worker.close().await;
        assert!(matches!(worker.call(|n| *n).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn panics_in_a_row_are_followed_by_a_pause_that_ends() {
        let worker = counting();
        for _ in 0..2 {
            let lost: Result<(), _> = worker.call(|_| panic!("injected")).await;
            assert!(matches!(lost, Err(StoreError::Defect)), "{lost:?}");
        }
        let early = worker.call(|n| *n).await;
        assert!(matches!(early, Err(StoreError::Recovering)), "{early:?}");
        let end = Instant::now() + Duration::from_secs(20);
        while worker.call(|n| *n).await.is_err() {
            assert!(Instant::now() < end, "never opened again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_does_not_open_is_tried_again() {
        let mut tries = 0;
        let reopen = move || {
            tries += 1;
            if tries == 1 { Err(StoreError::Full) } else { Ok(tries) }
        };
        let worker = Worker::start("failing", 0, reopen, |_| {}).unwrap();
        let lost: Result<(), _> = worker.call(|_| panic!("injected")).await;
        assert!(matches!(lost, Err(StoreError::Defect)), "{lost:?}");
        assert!(matches!(worker.call(|n| *n).await, Err(StoreError::Recovering)));
        let end = Instant::now() + Duration::from_secs(20);
        while !matches!(worker.call(|n| *n).await, Ok(2)) {
            assert!(Instant::now() < end, "never opened again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn the_pause_doubles_and_ends() {
        let pauses: Vec<u128> = [1, 2, 3, 4, 40, u32::MAX].map(|n| pause(n).as_millis()).into();
        assert_eq!(pauses, [0, 100, 200, 400, 10_000, 10_000]);
    }
}
