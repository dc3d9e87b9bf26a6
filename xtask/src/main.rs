//! Set-up, build of the site, checks, tests, benchmarks: `cargo xtask <verb>`.
//!
//! Everything that has to be installed, built or measured for this workspace is done here and says what it does, so that a bare
//! machine with Rust on it needs no second tool and no page of instructions. One module per subject:
//!
//! - [`workspace`]: where things are (root, target directory, site) and what crates there are;
//! - [`progress`]: how far a build is: stages, crates, time;
//! - [`run`]: starting other programs with a clean environment, time limits and readable failures;
//! - [`setup`]: the browser target, npm packages, Chromium, Prometheus: found, else installed, else the exact command;
//! - [`site`]: the browser modules, style sheet and static files in `target/site`;
//! - [`binary`]: the one executable, and the demo's service beside it;
//! - [`check`]: format, lints, purity of the W crates, direction of dependencies, tidiness, size;
//! - [`test`]: everything in order, with one summary;
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program speaks to its terminal")]

mod bench;
mod binary;
mod check;
mod fingerprint;
mod go_peers;
mod oci_peers;
mod progress;
mod run;
mod setup;
mod site;
mod test;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use progress::Stages;
use std::process::ExitCode;
use workspace::Workspace;

/// Set-up, build, checks, tests and benchmarks of DeliveryOS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build what is missing and run the demo: a real service, real traffic, a canary that climbs.
    Demo(RunArgs),
    /// Build what is missing and run the server on your own service (`-- --config deliveryos.toml`).
    Serve(RunArgs),
    /// Build the site and the executable; `--release` embeds the site in one file, target/release/deliveryos.
    Build(BuildArgs),
    /// Format, lints, purity of the W crates, direction of dependencies, tidiness.
    Check(check::CheckArgs),
    /// Everything in order, with one summary: check, cargo tests, site, browser tests.
    Test(test::TestArgs),
    /// Measure, beside real peers where they are installed; JSON in target/bench and a table.
    Bench(bench::BenchArgs),
    /// Fill a data directory with a made-up, properly signed history: `seed DIR [--releases 10000] [--receipts 1000000]`.
    Seed(SeedArgs),
    /// Install what building and testing need (browser target, npm packages, Chromium, Prometheus), and say what was found.
    Setup(setup::SetupArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// Optimised build, site embedded (first time: some minutes more).
    #[arg(long)]
    release: bool,
    /// Handed to `deliveryos` as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
struct SeedArgs {
    /// The directory, and how much.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
struct BuildArgs {
    /// Optimised build, site embedded and compressed.
    #[arg(long)]
    release: bool,
    /// Only target/site, not the executable.
    #[arg(long)]
    site_only: bool,
}

fn main() -> ExitCode {
    match dispatch(Args::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes; a backtrace through xtask says nothing more.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    let workspace = Workspace::locate()?;
    match verb {
        Verb::Demo(args) => binary::build_and_run(&workspace, "demo", args.release, &args.args),
        Verb::Serve(args) => binary::build_and_run(&workspace, "serve", args.release, &args.args),
        Verb::Build(args) => {
            let mut stages = Stages::of(if args.site_only { site::STAGES } else { site::STAGES + binary::STAGES });
            let report = site::build(&workspace, args.release, &mut stages)?;
            if !args.site_only {
                let path = binary::build(&workspace, args.release, &mut stages)?;
                eprintln!("built {}", path.display());
            }
            if args.release {
                report.print_sizes();
            }
            Ok(())
        }
        Verb::Check(args) => check::run(&workspace, &args),
        Verb::Test(args) => test::run(&workspace, &args),
        Verb::Bench(args) => bench::run(&workspace, &args),
        Verb::Seed(args) => bench::seed(&workspace, &args.args),
        Verb::Setup(args) => setup::run(&workspace, &args),
    }
}
