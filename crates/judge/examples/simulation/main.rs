//! `cargo xtask bench judge`: rollouts at random under this judge and under the rules that others use.
//!
//! Writes the tables of `docs/judge.md` between their marks and the plot beside it, and prints every seed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program that measures")]

mod cost;
mod plot;
mod scenarios;
mod tables;

use std::{path::PathBuf, time::Instant};

use judge::simulate::{Outcome, Random, Rules, Scenario};

/// What is asked for on the command line.
struct Options {
    /// Rollouts of a faulty scenario.
    runs: u32,
    /// Rollouts of a healthy one.
    healthy: u32,
    threads: usize,
    docs: Option<PathBuf>,
}

fn options() -> Options {
    let mut args = std::env::args().skip(1);
    let mut options = Options { runs: 1_000, healthy: 10_000, threads: 2, docs: None };
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_default();
        match arg.as_str() {
            "--runs" => options.runs = value.parse().expect("--runs takes a number"),
            "--healthy" => options.healthy = value.parse().expect("--healthy takes a number"),
            "--threads" => options.threads = value.parse::<usize>().expect("--threads takes a number").max(1),
            "--docs" => options.docs = Some(PathBuf::from(value)),
            other => panic!("{other}: --runs N, --healthy N, --threads N, --docs DIR"),
        }
    }
    options
}

fn main() {
    let options = options();
    let began = Instant::now();
    let cost = cost::rows();
    println!("{}", cost.text);
    let table: Vec<tables::Row> = scenarios::all()
        .into_iter()
        .map(|scenario| {
            let runs = if scenario.healthy { options.healthy } else { options.runs };
            let outcomes = outcomes(&scenario, runs, options.threads, Rules::ALL);
            progress(&scenario, began);
            tables::Row::new(scenario, &outcomes)
        })
        .collect();
    let hard_stops: Vec<(Scenario, u32)> = scenarios::shared_failures()
        .into_iter()
        .map(|scenario| {
            let outcomes = outcomes(&scenario, options.healthy, options.threads, Rules::HARD_STOP);
            progress(&scenario, began);
            let stopped = outcomes.iter().filter(|o| o.hard_stop.is_some()).count();
            (scenario, u32::try_from(stopped).expect("a count"))
        })
        .collect();
    let (text, missed) = tables::text(&table, &hard_stops, &options_of(&options));
    let text = format!("{}{text}", cost.text);
    println!("{text}\n{:.0} s in all", began.elapsed().as_secs_f64());
    if let Some(dir) = options.docs {
        write(&dir, &text);
        plot::draw(&dir.join("judge.svg"), &table).expect("docs/judge.svg");
    }
    let missed: Vec<String> = cost.missed.into_iter().chain(missed).collect();
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

fn options_of(options: &Options) -> tables::Runs {
    tables::Runs { faulty: options.runs, healthy: options.healthy }
}

/// Runs a scenario on several threads; the seed of a run is that of its scenario and its number.
fn outcomes(s: &Scenario, runs: u32, threads: usize, rules: Rules) -> Vec<Outcome> {
    let part = |first: usize| -> Vec<Outcome> {
        (first..runs as usize)
            .step_by(threads)
            .map(|run| s.run(&mut Random::new(s.seed().wrapping_add(run as u64 * 0x9e37_79b9)), rules))
            .collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|i| scope.spawn(move || part(i))).collect();
        parts.into_iter().flat_map(|p| p.join().expect("a thread")).collect()
    })
}

#[allow(clippy::print_stderr, reason = "progress")]
fn progress(s: &Scenario, began: Instant) {
    eprintln!("{:>5.0} s  {}/s {}, seed {:016x}", began.elapsed().as_secs_f64(), s.rate, s.name, s.seed());
}

/// Between the marks of the page.
fn write(dir: &std::path::Path, tables: &str) {
    let path = dir.join("judge.md");
    let text = std::fs::read_to_string(&path).expect("docs/judge.md");
    let (begin, end) = ("<!-- written by the run -->\n", "<!-- end of what the run wrote -->");
    let (head, rest) = text.split_once(begin).expect("the mark before the tables");
    let (_, tail) = rest.split_once(end).expect("the mark after the tables");
    std::fs::write(&path, format!("{head}{begin}{tables}{end}{tail}")).expect("docs/judge.md");
    println!("{}", path.display());
}
