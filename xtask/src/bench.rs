//! `cargo xtask bench`: builds for release what is measured, and the program that measures it (`xtask-bench`).

use crate::progress::{self, Stages};
use crate::workspace::Workspace;
use crate::{binary, run, setup, site};
use anyhow::Result;
use std::process::Stdio;

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Requests per second and core, and latency, of the splitter beside haproxy, nginx and Envoy where they are installed.
    Splitter(Rest),
    /// From the POST of an abort to the last request at the canary, under load; and how soon a bad canary has no traffic.
    Abort(Rest),
    /// Reviews per second of the admission webhook and their latency, over TLS, with a receipt for each.
    Admission(Rest),
    /// Durable appends per second and their latency at 1, 64 and 256 writers.
    Log(Rest),
    /// Start-up, time to first byte and memory of the pages over a large log (`-- --data DIR`, which `cargo xtask seed` fills).
    Pages(Rest),
    /// An image of 1 GB from registry to registry, beside `oras cp -r` and `crane cp`: time and memory.
    Promote(Rest),
    /// From an append to the last of a thousand clients of the live stream (`-- --data DIR`).
    Sse(Rest),
    /// The pages in Chromium: first visits, a release with 10,000 measurements drawn, the main thread under live updates.
    Browser(Rest),
    /// Verification of bundles: warm, keyless and with a key, and as a process beside `cosign verify-blob`.
    Verify(Rest),
    /// Rollouts at random under the sequential judge and under the rules that others use; writes the tables of docs/judge.md. With `-- --real`:
    /// healthy and faulty canaries on the real splitter, twenty at once.
    Judge(Rest),
}

/// Asks for the judge on the real splitter instead of its simulation.
const REAL: &str = "--real";

#[derive(clap::Args)]
struct Rest {
    /// Handed on; `--help` after `--` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<()> {
    let (name, rest, product) = match &args.what {
        What::Splitter(rest) => ("splitter", rest, true),
        What::Abort(rest) => ("abort", rest, true),
        What::Admission(rest) => ("admission", rest, true),
        What::Log(rest) => ("log", rest, false),
        What::Pages(rest) => ("pages", rest, true),
        What::Promote(rest) => ("promote", rest, true),
        What::Sse(rest) => ("sse", rest, true),
        What::Judge(rest) if rest.args.iter().any(|arg| arg == REAL) => ("judge", rest, true),
        What::Verify(rest) => ("verify", rest, true),
        What::Judge(rest) => return judge(workspace, rest),
        What::Browser(rest) => ("browser", rest, true),
    };
    let program = build(workspace)?;
    // The load and the backend stay off the first core, which is the proxy's.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut bench = if name == "splitter" && cores > 1 && run::exists("taskset") {
        let mut taskset = run::command("taskset");
        taskset.arg("-c").arg(format!("1-{}", cores - 1)).arg(&program);
        taskset
    } else {
        run::command(&program.to_string_lossy())
    };
    bench.current_dir(&workspace.root).arg(name);
    if product {
        // The pages are no part of a verification.
        let pages = name != "verify";
        let mut stages = Stages::of(binary::STAGES + if pages { site::STAGES } else { 0 });
        if pages {
            site::build(workspace, true, &mut stages)?;
        }
        bench.arg("--deliveryos").arg(binary::build(workspace, true, &mut stages)?);
        if name == "splitter" {
            bench.arg("--peers").arg(setup::bench_peers(workspace)?);
        }
        if name == "verify" {
            crate::oci_peers::clients(workspace)?;
            bench.arg("--peers").arg(setup::peers(workspace));
        }
        if name == "browser" {
            let needed = |found: setup::Found| match found {
                setup::Found::At(path) => Ok(path),
                setup::Found::Missing(why) => Err(anyhow::anyhow!(why)),
            };
            bench.arg("--playwright").arg(needed(setup::playwright(workspace)?)?);
            bench.arg("--chromium").arg(needed(setup::chromium()?)?);
        }
        if name == "promote" {
            crate::oci_peers::docker_registry(workspace)?;
            crate::oci_peers::clients(workspace)?;
            bench.arg("--peers").arg(setup::peers(workspace));
        }
    }
    bench.stdin(Stdio::null()).args(rest.args.iter().skip_while(|arg| *arg == "--").filter(|arg| *arg != REAL));
    run::step(&format!("measuring: {name}"), || run::run(&mut bench))
}

/// The program that measures, and that fills data directories.
fn build(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root).args(["build", "--release", "--package", "xtask-bench"]);
    run::step("the measuring program", || progress::cargo(&mut cargo))?;
    Ok(workspace.target.join("release/xtask-bench"))
}

/// `cargo xtask seed DIR`: a made-up, properly signed history.
pub(crate) fn seed(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut seed = run::command(&build(workspace)?.to_string_lossy());
    seed.current_dir(&workspace.root).arg("seed").args(args.iter().skip_while(|arg| *arg == "--"));
    run::step("filling the data directory", || run::run(&mut seed))
}

/// The simulation needs nothing but the judge itself.
fn judge(workspace: &Workspace, rest: &Rest) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root);
    cargo.args(["run", "--release", "--package", "judge", "--features", "simulate", "--example", "simulation", "--"]);
    let docs = workspace.root.join("docs");
    cargo.arg("--docs").arg(docs).args(rest.args.iter().skip_while(|arg| *arg == "--"));
    run::step("measuring: judge", || run::run(&mut cargo))
}
