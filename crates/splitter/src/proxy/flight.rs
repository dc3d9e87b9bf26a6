//! One request under way: its limits, and how it is counted when it ends.
//!
//! There is no timer per request. Each flight carries a deadline on the worker's coarse clock; a sweep every
//! [`SWEEP`](crate::worker::SWEEP) looks at all flights of the worker and stops those that are over it or belong to a
//! version that is being cut. Limits are therefore exact to one sweep, and a request that meets them costs nothing.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::pool::Pool;
use crate::clock::micros;
use crate::route::Version;
use crate::stats::{Outcome, WorkerStats};
use crate::worker::Worker;

/// A version as one worker has it.
pub(crate) struct WorkerVersion {
    pub(crate) shared: std::sync::Arc<Version>,
    pub(crate) stats: std::cell::RefCell<WorkerStats>,
    pub(crate) pool: Rc<Pool>,
}

/// What a request is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A connection to the version.
    Connecting,
    /// The request's body is being sent on.
    Uploading,
    /// The head of the answer.
    Waiting,
    /// The body of the answer, or either direction of an upgraded connection.
    Streaming,
}

/// Why a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The version did not accept a connection in time.
    Connect,
    /// The version did not begin to answer in time.
    Answer,
    /// The version stalled.
    VersionIdle,
    /// The client stalled.
    ClientIdle,
    /// The request's body is over the limit.
    TooLarge,
    /// The client broke off while its body was read.
    ClientBroke,
    /// The request's body is not what its coding allows.
    Malformed,
    /// The drain limit of the version.
    Drain,
}

/// Time limits of a request, ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: u64,
    pub(crate) answer: u64,
    pub(crate) idle: u64,
}

/// One request under way. Shared by the request's body, the wait for the answer, and the answer's body.
pub(crate) struct Flight {
    pub(crate) version: Rc<WorkerVersion>,
    pub(crate) times: Times,
    pub(crate) phase: Cell<Phase>,
    /// True while the next move is the client's: a stall is then not the version's failure.
    pub(crate) client_to_move: Cell<bool>,
    worker: Rc<Worker>,
    started: Instant,
    deadline_ms: Cell<u64>,
    stop: Cell<Option<Stop>>,
    waker: Cell<Option<Waker>>,
    status: Cell<u16>,
    settled: Cell<bool>,
}

impl Flight {
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stop.get()
    }

    /// Stops the request and wakes whoever waits.
    pub(crate) fn stop(&self, why: Stop) {
        if self.stop.get().is_none() {
            self.stop.set(Some(why));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Begins a phase with its time limit.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        let limit = match phase {
            Phase::Connecting => self.times.connect,
            Phase::Waiting => self.times.answer,
            Phase::Uploading | Phase::Streaming => self.times.idle,
        };
        self.deadline_ms.set(self.worker.now_ms() + limit);
    }

    /// Something moved: the idle limit starts again.
    pub(crate) fn touch(&self) {
        self.deadline_ms.set(self.worker.now_ms() + self.times.idle);
    }

    /// Called by the sweep.
    pub(crate) fn sweep(&self, now_ms: u64) {
        if self.stop.get().is_some() {
            return;
        }
        if self.version.shared.cut.load(Ordering::Relaxed) {
            self.stop(Stop::Drain);
        } else if self.deadline_ms.get() <= now_ms {
            self.stop(match self.phase.get() {
                Phase::Connecting => Stop::Connect,
                Phase::Waiting => Stop::Answer,
                Phase::Uploading | Phase::Streaming if self.client_to_move.get() => Stop::ClientIdle,
                Phase::Uploading => Stop::Answer,
                Phase::Streaming => Stop::VersionIdle,
            });
        }
    }

    /// Remembers whom to wake when the request is stopped.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let kept = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(kept.unwrap_or_else(|| cx.waker().clone())));
    }

    /// Polls a future unless the request is stopped.
    pub(crate) fn poll_guarded<F: Future>(
        &self,
        cx: &mut Context<'_>,
        future: Pin<&mut F>,
    ) -> Poll<Result<F::Output, Stop>> {
        if let Some(stop) = self.stop.get() {
            return Poll::Ready(Err(stop));
        }
        match future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                self.register(cx);
                Poll::Pending
            }
        }
    }

    /// Waits for a future unless the request is stopped.
    pub(crate) async fn guarded<F: Future>(&self, future: F) -> Result<F::Output, Stop> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| self.poll_guarded(cx, future.as_mut())).await
    }

    /// Notes that the request goes to the version now.
    pub(crate) fn sent(&self, at: Instant) {
        if let Some(lane) = self.version.shared.lane(self.worker.index) {
            lane.last_sent_us.store(self.worker.clock.mono_us(at), Ordering::Relaxed);
        }
    }

    pub(crate) fn add_bytes_in(&self, bytes: usize) {
        self.version.stats.borrow_mut().counts.bytes_in += bytes as u64;
    }

    pub(crate) fn add_bytes_out(&self, bytes: usize) {
        self.version.stats.borrow_mut().counts.bytes_out += bytes as u64;
    }
}

/// Holds a request in the count of those under way; dropping it ends the request.
pub(crate) struct Trip {
    flight: Rc<Flight>,
    slot: usize,
}

impl std::ops::Deref for Trip {
    type Target = Rc<Flight>;

    fn deref(&self) -> &Rc<Flight> {
        &self.flight
    }
}

impl Trip {
    /// Counts a request as sent to a version. Called in one breath with reading the route, with no `await` between: a fence
    /// message to the worker then finds it counted.
    pub(crate) fn begin(worker: &Rc<Worker>, version: Rc<WorkerVersion>, times: Times, started: Instant) -> Self {
        if let Some(lane) = version.shared.lane(worker.index) {
            lane.enter();
        }
        version.stats.borrow_mut().counts.started += 1;
        let flight = Rc::new(Flight {
            version,
            times,
            phase: Cell::new(Phase::Connecting),
            client_to_move: Cell::new(false),
            worker: Rc::clone(worker),
            started,
            deadline_ms: Cell::new(worker.now_ms() + times.connect),
            stop: Cell::new(None),
            waker: Cell::new(None),
            status: Cell::new(0),
            settled: Cell::new(false),
        });
        let slot = worker.flights.borrow_mut().insert(Rc::clone(&flight));
        Self { flight, slot }
    }

    /// Counts the request's end, once.
    pub(crate) fn settle(&self, outcome: Outcome) {
        if !self.flight.settled.replace(true) {
            let latency = micros(self.flight.started.elapsed());
            self.flight.version.stats.borrow_mut().settle(outcome, latency);
        }
    }

    /// The answer's head has come.
    pub(crate) fn answered(&self, status: u16) {
        self.flight.status.set(status);
        self.flight.enter(Phase::Streaming);
    }

    /// The answer is whole.
    pub(crate) fn complete(&self) {
        self.settle(Outcome::Answered(self.flight.status.get()));
    }

    /// The answer broke off.
    pub(crate) fn broke_off(&self) {
        self.settle(Outcome::BrokeOff(self.flight.status.get()));
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        let flight = &self.flight;
        match flight.stop.get() {
            Some(Stop::Drain) => {
                // An event stream was counted at its head; that it was cut is still worth knowing.
                if flight.settled.get() {
                    flight.version.stats.borrow_mut().counts.cut += 1;
                } else {
                    self.settle(Outcome::Cut);
                }
            }
            Some(Stop::VersionIdle) => self.settle(Outcome::Stalled(flight.status.get())),
            _ => self.settle(Outcome::ClientGone),
        }
        if let Some(lane) = flight.version.shared.lane(flight.worker.index) {
            lane.leave();
        }
        flight.worker.flights.borrow_mut().remove(self.slot);
    }
}
