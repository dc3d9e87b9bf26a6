//! The loop: observe → plan → execute → record, under an epoch.
//!
//! The controller decides nothing by itself: `rollout::plan` says what to do, a [`Runtime`] does it, the log keeps it.
//! Each service has one task, so that its releases, commands and receipts have one order.
//!
//! # What is written, and when
//! - A start or command is `delivery.command.accepted` (or `.refused`) under the key `command/<id>`, durable **before** anything moves and
//!   before it is answered. The same key again is answered with what was recorded first.
//! - Every transition of the engine is one receipt under the key `<release>/<n>`, n counting from 0000: its payload has the facts of its kind for
//!   readers and the engine's own form as `transition`. The status is the fold of these; there is no other state. What a
//!   transition states is one pure function (`record`). A command's transitions name its index as `command`.
//! - Ticks and measurements are samples; verdicts name the segment that holds theirs, the policy in force and their sufficient statistics.
//! - At the end of each step the built-in judge's word on it is stated (`<release>/judged/<n>`).
//! - A release that has ended gets its sum (`<release>/sum/<n>`): count, ranges and RFC 6962 root of its receipts, joules.
//!
//! # After a crash
//! The status is folded from the log, the data plane is observed, what is seen is recorded (a drifted weight, a dead man's
//! switch). Commands that were accepted and not carried out are carried out. Operations have deterministic ids, so one that was done and not
//! recorded is answered by the data plane with its first answer and then recorded.
//!
//! Between releases the data plane is held against the log: one that came back with an older state (it could not be saved) is given
//! what the log says, health-checked, under one `delivery.command.accepted` of the controller (`begun/<release>/restore/<ms>`).
//!
//! What is read for that is of the service's newest release alone. Where this cannot be carried on (a damaged receipt of its own), the service is
//! left alone by name ([`LeftAlone`]): every command says why, and an abort still takes the traffic off the canary.
//!
//! # Abort
//! Aborts have a queue of their own that is looked at before anything else and between any two actions. Once the intent is
//! durable the weight is set, and only then the further receipts are written. Nothing slow runs in the task: measurements,
//! migrations and drains run beside it, with time limits.
//!
//! # Where the judge's counts come from
//! The data plane's seconds, or for a service whose configuration says so the cumulative counters of a metric source ([`CounterSource`]): asked
//! beside the task, moment after moment, and carried into the samples by the data plane's seconds. While they do not come nothing is judged:
//! a step waits, and an abort does not.
//!
//! # Epoch
//! At the start a larger epoch is taken than the log or the data plane has seen. A data plane that names a larger one later
//! means that another controller took over: this one stops acting ([`Failure::Overtaken`]).

mod act;
mod ask;
mod boot;
mod complete;
mod controller;
mod counters;
mod counting;
mod evidence;
mod left_alone;
mod limits;
mod look;
pub mod ports;
mod record;
mod restore;
mod seconds;
pub mod service;
mod task;
mod write;

#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::expect_used, clippy::panic)] // suites are tests
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
pub mod fake;

pub use controller::{Controller, Failure, Parts};
pub use counters::{CounterAsk, CounterQueries, CounterSource, Counters};
pub use ports::*;
pub use service::{CommandError, Delivery, LeftAlone, StartError, StartRequest, Traffic};

#[cfg(test)]
mod tests;
