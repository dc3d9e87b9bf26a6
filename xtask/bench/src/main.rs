//! Measurements beside real peers, each as a table and as JSON.
//!
//! `cargo xtask bench` builds this program and the product for release and starts it. What it measures and how is said at the head of each
//! module; the machine is part of every result, because a number without its machine means nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program speaks to its terminal")]

mod admission;
mod backend;
mod browser;
mod log;
mod machine;
mod pages;
mod peers;
mod process;
mod promote;
mod recovery;
mod seed;
mod serve;
mod splitter;
mod sse;
mod verdicts;
mod verify;
mod wrk;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The product's executable.
    #[arg(long, global = true, default_value = "target/release/deliveryos")]
    deliveryos: PathBuf,
    /// Where the JSON goes.
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
    /// Where unpacked peers are, beside the PATH.
    #[arg(long, global = true)]
    peers: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Requests per second and core, and latency, of the splitter beside haproxy, nginx and Envoy.
    Splitter(splitter::Options),
    /// From the POST of an abort to the last request at the canary, under load; and how soon a bad canary has no traffic.
    Abort(recovery::Options),
    /// The sequential judge on the real splitter: healthy canaries that reach 100 %, faulty ones that are stopped, and how soon.
    Judge(verdicts::Options),
    /// Reviews per second of the admission webhook and their latency, over TLS.
    Admission(admission::Options),
    /// Durable appends per second and their latency, by number of writers.
    Log(log::Options),
    /// Start-up, time to first byte and memory of the pages over a large log.
    Pages(pages::Options),
    /// The pages in Chromium: first visits, a release with 10,000 measurements drawn, the main thread under live updates.
    Browser(browser::Options),
    /// An image from registry to registry, beside oras and crane: time and memory.
    Promote(promote::Options),
    /// From an append to the last of a thousand clients of the live stream.
    Sse(sse::Options),
    /// Verification of bundles: warm, and as a process beside cosign.
    Verify(verify::Options),
    /// Fill a data directory with a made-up, properly signed history.
    Seed(seed::Options),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (name, measured) = match args.verb {
        Verb::Splitter(options) => ("splitter", splitter::run(&options, &args.deliveryos, args.peers.as_deref())?),
        Verb::Abort(options) => ("abort", recovery::run(&options, &args.deliveryos)?),
        Verb::Judge(options) => ("judge", verdicts::run(&options, &args.deliveryos)?),
        Verb::Admission(options) => ("admission", admission::run(&options, &args.deliveryos)?),
        Verb::Log(options) => ("log", log::run(&options)?),
        Verb::Pages(options) => ("pages", pages::run(&options, &args.deliveryos)?),
        Verb::Browser(options) => ("browser", browser::run(&options, &args.deliveryos)?),
        Verb::Promote(options) => ("promote", promote::run(&options, &args.deliveryos, args.peers.as_deref())?),
        Verb::Sse(options) => ("sse", sse::run(&options, &args.deliveryos)?),
        Verb::Verify(options) => ("verify", verify::run(&options, &args.deliveryos, args.peers.as_deref())?),
        Verb::Seed(options) => ("seed", seed::run(&options)?),
    };
    std::fs::create_dir_all(&args.out)?;
    let path = args.out.join(format!("{name}.json"));
    let json = serde_json::json!({ "benchmark": name, "machine": machine::facts(), "result": measured });
    std::fs::write(&path, serde_json::to_string_pretty(&json)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", path.display());
    Ok(())
}
