//! The pages in Chromium: what a first visit costs, how long a release with many measurements takes to be drawn, and how long live updates
//! keep the main thread.
//!
//! Playwright drives the browser (`end2end/bench`) and hands over every sample. A visit is a first one: a new profile, nothing cached. A draw
//! is timed from the moment the release's data were in the page to the painted frame. The tasks of live updates come from Chromium's own
//! trace, so that those below 50 ms are known too.

use crate::machine::median;
use crate::seed;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Measurements of the release that is drawn, one a second.
const MEASUREMENTS: u64 = 10_000;
/// Largest contentful paint of a first visit, ms.
const PAINT_MS: f64 = 1_000.0;
/// A release drawn, ms.
const DRAWN_MS: f64 = 100.0;
/// The main thread under live updates, ms.
const TASK_MS: f64 = 50.0;
/// Pages whose first paint is held against a limit; the others are shown.
const HELD: [&str; 4] = ["overview", "a release", "receipts", "releases"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data directory, as `cargo xtask seed DIR --measurements 10000` filled it; its newest release is drawn. Without one a small one is
    /// filled.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Playwright's program.
    #[arg(long, default_value = "end2end/node_modules/.bin/playwright")]
    playwright: PathBuf,
    /// The browser.
    #[arg(long, default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
    /// First visits of each page.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    visits: u64,
    /// How often the release is drawn.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=200))]
    draws: u64,
    /// Live updates that are watched; about one a second comes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=200))]
    updates: u64,
    /// Measure only this: `visits` (and draws) or `updates`.
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    Visits,
    Updates,
}

/// A first visit.
#[derive(Deserialize)]
struct Visit {
    kilobytes: f64,
    paint_ms: f64,
    shift: f64,
    longest_task_ms: f64,
    elements: f64,
}

/// What was watched of the live updates.
#[derive(Deserialize)]
struct Live {
    updates: u64,
    seconds: f64,
    longest_tasks_ms: Vec<f64>,
    shift: f64,
}

#[derive(Deserialize)]
struct Samples {
    visits: Option<BTreeMap<String, Vec<Visit>>>,
    opened_ms: Option<Vec<f64>>,
    zoomed_ms: Option<Vec<f64>>,
    live: Option<Live>,
}

pub(crate) fn run(options: &Options, program: &Path) -> Result<Value> {
    let made = tempfile::tempdir()?;
    let data = match (&options.data, options.only) {
        (Some(data), _) => std::path::absolute(data)?,
        (None, Some(Part::Updates)) => made.path().to_owned(),
        (None, _) => {
            let data = made.path().join("data");
            seed::run(&seed::Options::small(data.clone(), MEASUREMENTS))?;
            data
        }
    };
    let file = made.path().join("samples.json");
    let mut command = Command::new(std::path::absolute(&options.playwright)?);
    command
        .current_dir("end2end")
        .args(["test", "--config", "bench.config.ts", "--reporter=line"])
        .env("DELIVERYOS_BIN", std::path::absolute(program)?)
        .env("CHROMIUM", &options.chromium)
        .env("DELIVERYOS_BENCH_DATA", &data)
        .env("DELIVERYOS_BENCH_SAMPLES", &file)
        .env("DELIVERYOS_BENCH_VISITS", options.visits.to_string())
        .env("DELIVERYOS_BENCH_DRAWN", options.draws.to_string())
        .env("DELIVERYOS_BENCH_UPDATES", options.updates.to_string())
        .stdin(Stdio::null());
    match options.only {
        Some(Part::Visits) => _ = command.args(["--grep", "first visits"]),
        Some(Part::Updates) => _ = command.args(["--grep", "live updates"]),
        None => {}
    }
    let status = command.status().with_context(|| format!("cannot start {}", options.playwright.display()))?;
    ensure!(status.success(), "Playwright failed ({status})");
    let text = std::fs::read_to_string(&file).context("Playwright wrote no samples")?;
    let all: Samples = serde_json::from_str(&text)?;
    let targets = print(&all);
    let samples: Value = serde_json::from_str(&text)?;
    Ok(json!({ "measurements": MEASUREMENTS, "targets": targets, "samples": samples }))
}

/// Prints the tables; returns what was held against which limit.
fn print(all: &Samples) -> Vec<Value> {
    let mut targets = Vec::new();
    let mut hold = |what: String, value: f64, limit: f64| {
        let met = value <= limit;
        targets.push(json!({ "what": what, "value": value, "target": limit, "met": met }));
        format!("(target {limit}{})", if met { ", met" } else { ": MISSED" })
    };
    if let Some(visits) = &all.visits {
        println!(
            "{:>12} {:>8} {:>10} {:>8} {:>7} {:>16} {:>9}",
            "first visit", "kB sent", "paint p50", "max ms", "shift", "longest task ms", "elements"
        );
        for (name, all) in visits {
            let of = |value: fn(&Visit) -> f64| all.iter().map(value).collect::<Vec<_>>();
            let paint = of(|v| v.paint_ms);
            let held = if HELD.contains(&name.as_str()) {
                hold(format!("largest contentful paint of {name}, ms"), largest(&paint), PAINT_MS)
            } else {
                String::new()
            };
            println!(
                "{name:>12} {:>8.0} {:>10.0} {:>8.0} {:>7.4} {:>16.0} {:>9.0}  {held}",
                median(&of(|v| v.kilobytes)),
                median(&paint),
                largest(&paint),
                largest(&of(|v| v.shift)),
                median(&of(|v| v.longest_task_ms)),
                median(&of(|v| v.elements)),
            );
        }
    }
    let drawn = [("opened from a list", &all.opened_ms), ("after a press on the zoom", &all.zoomed_ms)];
    for (how, times) in drawn.into_iter().filter_map(|(how, times)| Some((how, times.as_ref()?))) {
        let held = hold(format!("a release drawn, {how}, ms"), largest(times), DRAWN_MS);
        println!(
            "a release with {MEASUREMENTS} measurements drawn, {how}: median {:.0} ms, max of {} {:.0} ms {held}",
            median(times),
            times.len(),
            largest(times)
        );
    }
    if let Some(live) = &all.live {
        let longest = largest(&live.longest_tasks_ms);
        let held = hold("longest task of the main thread under live updates, ms".to_owned(), longest, TASK_MS);
        println!(
            "{} live updates in {:.0} s: longest task of the main thread {longest:.1} ms {held}, layout shift {:.4}",
            live.updates, live.seconds, live.shift
        );
    }
    targets
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
