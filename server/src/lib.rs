//! The one executable, `deliveryos`: subcommands, configuration, composition root, HTTP routes, login, demo.
//!
//! * [`args`]: the command line; [`exit`]: what its exit codes mean.
//! * [`command`]: one module per subcommand; those that speak to a running server go through [`command::client`].
//! * [`config`]: `deliveryos.toml`, the only place where commands, migrations and addresses come from.
//! * [`compose`]: ties every port to its adapter. No other crate knows them all.
//! * [`router`]: every route with the role it needs ([`router::ROUTES`]), and the layers around them; [`auth`]: who is asking, and the
//!   checks on every unsafe request; [`events`]: the live stream; [`site`]: the browser's files.
//! * [`promotions`]: images between environments; [`attestations`]: whose word about them counts; [`policy`]: what a release needs before
//!   it starts; [`false_stops`]: how often its recipe would stop a healthy canary.
//! * [`admission`]: the webhook that a cluster asks whether a pod may run, on a listener of its own.
//! * [`demo`]: a real service, real traffic, release after release.
//!
//! # Invariants
//! - Every route stands in one table with its role; a route that is not in it does not exist.
//! - An unsafe request with a cookie needs the same Origin **and** the session's form token; a bearer token without a cookie needs neither.
//! - Answers to clients carry no text of an internal error, and no secret is ever in one.
//! - Every queue, body and time has a named limit.

// Pages are deep types, and their layout is computed here.
#![recursion_limit = "512"]

pub mod admin;
pub mod admission;
pub mod args;
pub mod attestations;
pub mod auth;
pub mod command;
pub mod compose;
pub mod config;
pub mod demo;
pub mod events;
pub mod exit;
pub mod false_stops;
pub mod health;
pub mod http_server;
pub mod migrations;
pub mod policy;
pub mod promotions;
pub mod router;
pub mod site;

use std::process::ExitCode;

/// Reads the command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    let args = args::Args::of_this_process();
    match command::run(args) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
