//! The embedded data plane: a weighted reverse proxy in a process of its own.
//!
//! # What it is
//! A splitter serves services. A service has listening addresses and two slots, *stable* and *canary*, each for a version: a
//! child process that the splitter runs, or an address that somebody else runs. Every request goes to one of the two by the
//! canary's *weight*. It knows weights and nothing of releases: a controller, in another process, starts versions, sets
//! weights and reads ticks over the [control socket](control), and may die at any time without a request noticing.
//!
//! # Threads
//! *Workers* proxy: one current-thread runtime each, no lock on the way of a request. A request reads the service's route
//! (one atomic load), takes a position (one atomic add, shared by the workers: that makes the split exact over all of them)
//! and is counted in numbers that only its worker touches. The *acceptor* accepts and hands connections to the worker with
//! the fewest. The *engine*, on the thread that called [`run`], takes commands, supervises processes and once a second asks
//! the workers for what they counted. A thread of its own writes the state file.
//!
//! # Invariants
//! - Of each 100 consecutive positions of a route exactly `weight` are canary, shuffled anew for each 100; a change of weight
//!   or slots is a new route with a new count, in force for the next request when it is answered. Requests with a sticky key
//!   take no position.
//! - No request is tried on another version, and none twice, unless its connection was closed before a byte was written.
//! - Each request that is sent on ends in exactly one of: counted with a status, given up by the client, cut at the drain limit.
//! - A change comes into force before it is written down, so that a slow disk cannot hold up an abort; its answer comes after,
//!   or says that it could not be written. A splitter that is killed starts again with what is written: addresses, versions,
//!   weights, epoch and answered operations; processes are found again by id and start time. It says how long the gap was.
//! - A child's output goes to a file, never through the splitter: the child outlives it.
//!
//! # Limits
//! Every limit of a connection or request is a field of [`Limits`]; the splitter's own are constants with their reasons.
//! TLS is not spoken on either side: it listens on this machine or behind what ends TLS.

mod accept;
mod clock;
pub mod control;
mod engine;
mod handover;
mod health;
mod metrics;
mod process;
mod proxy;
mod route;
mod run;
mod server;
mod spec;
mod split;
mod state;
mod stats;
mod worker;

pub use handover::TakeOverError;
pub use run::{Options, RunError, run, run_as_successor};
pub use spec::{Health, Limits, MAX_SERVICES, Protocol, ServiceSpec, Source, Sticky, VersionSpec, check_url};
pub use state::StateError;
