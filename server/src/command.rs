//! The subcommands.

mod admit;
mod attest;
pub mod client;
mod completions;
pub(crate) mod demo_service;
mod gate;
mod image;
mod judge;
mod log;
pub(crate) mod place;
mod print;
mod promote;
mod receipt;
mod recipe;
mod rekor;
mod release;
mod sight;
mod splitter;
mod ticks;
mod token;
mod verdicts;
mod verify;
mod verify_bundle;
mod watch;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use store_sqlite::{OpenError, SqliteStore};

use crate::{
    args::{Args, Global, Verb},
    compose, config, demo,
    exit::WrongUse,
};

/// Name of the data directory of `serve`.
const DATA_DIR: &str = "deliveryos";
/// Name of the data directory of `demo`.
const DEMO_DATA_DIR: &str = "deliveryos-demo";

/// Does what the command line says. The code is that of an answer; errors have their own ([`crate::exit`]).
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { global, verb } = args;
    match verb {
        Verb::Serve(serve) => {
            let data_dir = data_dir(&global, DATA_DIR)?;
            logging();
            runtime()?.block_on(compose::serve(data_dir, serve))
        }
        Verb::Demo(options) => {
            let data_dir = data_dir(&global, DEMO_DATA_DIR)?;
            logging();
            runtime()?.block_on(demo::run(data_dir, options))
        }
        Verb::Release(verb) => small_runtime()?.block_on(release::run(&global, verb)),
        Verb::Recipe(verb) => small_runtime()?.block_on(recipe::run(&global, data_dir(&global, DATA_DIR), verb)),
        Verb::Judge(verb) => judge::run(&global, verb),
        Verb::Gate(verb) => small_runtime()?.block_on(gate::run(&global, verb)),
        Verb::Admit(verb) => {
            // Why evidence does not verify, and the like, is said in the answer; what else is worth a line goes to stderr.
            logging();
            runtime()?.block_on(admit::run(&global, verb))
        }
        Verb::Log(verb) => small_runtime()?.block_on(log::run(&global, data_dir(&global, DATA_DIR)?, verb)),
        Verb::Receipt(verb) => small_runtime()?.block_on(receipt::run(&global, verb)),
        Verb::Attest(verb) => small_runtime()?.block_on(attest::run(&global, verb)),
        Verb::Rekor(verb) => small_runtime()?.block_on(rekor::run(&global, data_dir(&global, DATA_DIR)?, verb)),
        Verb::Verify(options) => small_runtime()?.block_on(verify::run(&global, &options)),
        Verb::VerifyBundle(options) => verify_bundle::run(&global, &options),
        Verb::Token(verb) => small_runtime()?.block_on(token::run(&global, verb)),
        Verb::Splitter(options) => {
            let state_dir = match &options.state_dir {
                Some(dir) => dir.clone(),
                None => data_dir(&global, DATA_DIR)?.join(compose::SPLITTER_DIR),
            };
            logging();
            // Starts its own runtimes, one a thread.
            splitter::run(state_dir, &options)
        }
        Verb::Promote(options) => small_runtime()?.block_on(promote::run(&global, options)),
        Verb::Image(verb) => small_runtime()?.block_on(image::run(&global, verb)),
        Verb::DemoService(options) => small_runtime()?.block_on(demo_service::run(options)),
        Verb::Completions { shell } => completions::run(shell),
    }
}

fn data_dir(global: &Global, name: &str) -> anyhow::Result<PathBuf> {
    match &global.data_dir {
        Some(dir) => Ok(dir.clone()),
        None => config::default_data_dir(name),
    }
}

/// The database of a data directory, for reading only. Where none is, the command line names the wrong place.
async fn database(data_dir: &Path) -> anyhow::Result<SqliteStore> {
    SqliteStore::open_read_only(data_dir).await.map_err(|error| match error {
        OpenError::Missing(_) => WrongUse(error.to_string()).into(),
        other => other.into(),
    })
}

/// Descriptors wanted: every connection of the pages and of the traffic is one. systemd and most shells start with 1,024.
const DESCRIPTORS: u64 = 65_536;

/// Raises the limit on open files as far as the system lets us; what it does not let us, connections wait for.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(DESCRIPTORS)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS), hard)
    {
        tracing::warn!(%error, limit = soft, "the limit on open files could not be raised");
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    raise_descriptors();
    tokio::runtime::Runtime::new().context("the runtime could not be started")
}

fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime could not be started")
}

/// Log lines go to stderr; `RUST_LOG` chooses which, `DELIVERYOS_LOG=json` writes them for machines.
fn logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("DELIVERYOS_LOG").is_ok_and(|form| form == "json");
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A reader of the log that goes away must not end what is logged: saying so on the same stream would panic.
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).log_internal_errors(false);
    // A second initialisation (tests) keeps the first.
    let _ = if json { lines.json().try_init() } else { lines.compact().try_init() };
}
