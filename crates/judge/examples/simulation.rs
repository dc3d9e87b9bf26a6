//! `cargo xtask bench judge`: rollouts at random under this judge and under the rules that others use.
//!
//! Writes the tables of `docs/judge.md` between their marks and the plot beside it, and prints every seed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program that measures")]

use std::{fmt::Write as _, hint::black_box, path::PathBuf, time::Instant};

use judge::{
    sequential::{Beginning, Feed, Mode, ModeChoice, Policy},
    simulate::{Outcome, ROLLOUT_S, Random, Rules, Scenario, Stop, Tail},
};
use model::{Epoch, HistogramBucket, Tick, Timestamp, VersionTick, Weight};
use plotters::prelude::*;

/// Medians of an independent reference (1,000 runs a cell): rate, scenario, seconds in requests and in blocks.
const REFERENCE: [(f64, &str, u32, u32); 11] = [
    (20.0, "p99 +50%", 203, 367),
    (20.0, "5xx 2%", 203, 422),
    (20.0, "5xx 10%", 42, 75),
    (200.0, "p99 +50%", 26, 120),
    (200.0, "p99 +50% h", 203, 244),
    (200.0, "5xx 0.5%", 184, 335),
    (200.0, "5xx 2%", 23, 177),
    (200.0, "5xx 10%", 4, 9),
    (2000.0, "p99 +50%", 3, 20),
    (2000.0, "p99 +50% h", 28, 64),
    (2000.0, "5xx 2%", 3, 24),
];

fn scenarios() -> Vec<Scenario> {
    use Tail::{Heavy, Light};
    let mut all = Vec::new();
    for rate in [20.0, 200.0, 2_000.0] {
        let of = |name, tail, slower, errors, bursts, healthy| Scenario {
            name,
            rate,
            tail,
            slower,
            errors,
            bursts,
            healthy,
        };
        all.extend([
            of("none", Light, 1.0, (0.001, 0.001), false, true),
            of("none, h", Heavy, 1.0, (0.001, 0.001), false, true),
            of("bursts", Light, 1.0, (0.001, 0.001), true, true),
            of("bursts, h", Heavy, 1.0, (0.001, 0.001), true, true),
            of("at tolerance", Light, 1.1, (0.002, 0.001), false, true),
            of("p99 +15%", Light, 1.15, (0.0, 0.0), false, false),
            of("p99 +50%", Light, 1.5, (0.0, 0.0), false, false),
            of("p99 +50% h", Heavy, 1.5, (0.0, 0.0), false, false),
            of("5xx 0.5%", Light, 1.0, (0.005, 0.0), false, false),
            of("5xx 2%", Light, 1.0, (0.02, 0.0), false, false),
            of("5xx 10%", Light, 1.0, (0.1, 0.0), false, false),
        ]);
    }
    all
}

type Pick = fn(&Outcome) -> Option<Stop>;
const RULES: [(&str, Pick); 6] = [
    ("threshold 60 s", |o| o.threshold_60),
    ("threshold 10 s", |o| o.threshold_10),
    ("threshold 10 s, 500", |o| o.threshold_10_min),
    ("Mann-Whitney 60 s", |o| o.mann_whitney),
    ("sequential, requests", |o| o.requests),
    ("sequential, blocks", |o| o.blocks),
];

/// One rule in one scenario.
#[derive(Debug, Clone, Copy)]
struct Cell {
    stopped: f64,
    median: Option<(u32, u64)>,
    ninety: Option<u32>,
    /// Mean of canary requests until the stop, or of the whole rollout.
    exposed: f64,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut runs, mut healthy, mut docs, mut threads) = (1_000, 10_000, None, 1_usize);
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_default();
        match arg.as_str() {
            "--runs" => runs = value.parse().expect("--runs takes a number"),
            "--healthy" => healthy = value.parse().expect("--healthy takes a number"),
            "--threads" => threads = value.parse().expect("--threads takes a number"),
            "--docs" => docs = Some(PathBuf::from(value)),
            other => panic!("{other}: --runs N, --healthy N, --threads N, --docs DIR"),
        }
    }
    let mut out = String::new();
    let tick = one_tick(&mut out);
    println!("{tick}");
    let began = Instant::now();
    let table = compare(runs, threads.max(1), &mut out);
    let false_aborts = bound(healthy, threads.max(1), &mut out);
    println!("{out}\n{:.0} s", began.elapsed().as_secs_f64());
    if let Some(dir) = docs {
        let path = dir.join("judge.md");
        let text = std::fs::read_to_string(&path).expect("docs/judge.md");
        let (begin, end) = ("<!-- written by the run -->\n", "<!-- end of what the run wrote -->");
        let (head, rest) = text.split_once(begin).expect("the mark before the tables");
        let (_, tail) = rest.split_once(end).expect("the mark after the tables");
        std::fs::write(&path, format!("{head}{begin}{out}{end}{tail}")).expect("docs/judge.md");
        plot(&dir.join("judge.svg"), &table).expect("docs/judge.svg");
        println!("{}", path.display());
    }
    assert!(false_aborts, "a healthy canary was stopped more often than promised");
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

fn cell(outs: &[Outcome], pick: Pick, s: &Scenario) -> Cell {
    let mut at: Vec<(u32, u64)> = outs.iter().filter_map(pick).map(|stop| (stop.at, stop.exposed)).collect();
    at.sort_unstable();
    // Requests of a rollout that is not stopped: 5, 25, 50 and 100 % of 180 s each.
    let whole = s.rate * f64::from(ROLLOUT_S) / 4.0 * 1.8;
    let exposed = at.iter().map(|a| a.1 as f64).sum::<f64>() + whole * (outs.len() - at.len()) as f64;
    Cell {
        stopped: at.len() as f64 / outs.len() as f64,
        median: at.get(outs.len() / 2).copied(),
        ninety: at.get(outs.len() * 9 / 10).map(|a| a.0),
        exposed: exposed / outs.len() as f64,
    }
}

fn compare(runs: u32, threads: usize, out: &mut String) -> Vec<(Scenario, Vec<Cell>)> {
    let _ = writeln!(
        out,
        "\n### Side by side\n\n{runs} rollouts a cell: share stopped (where it is not all); median and 90th percentile of the seconds until then; median of the canary requests until then; mean of the canary requests that a rollout exposes in all. **Bold**: the fewest exposed among the rules that stop at most 1 % of the healthy canaries at that rate. R: requests a second. h: heavy tail.\n"
    );
    let names: Vec<&str> = RULES.iter().map(|r| r.0).collect();
    let _ =
        writeln!(out, "| R | scenario | {} | seed |\n|---|---|{}---|", names.join(" | "), "---|".repeat(names.len()));
    let both = Rules { ours: true, theirs: true };
    let table: Vec<(Scenario, Vec<Cell>)> = scenarios()
        .into_iter()
        .map(|s| {
            let outs = outcomes(&s, runs, threads, both);
            let cells = RULES.iter().map(|(_, pick)| cell(&outs, *pick, &s)).collect();
            eprint(&s);
            (s, cells)
        })
        .collect();
    let fair = |rule: usize, s: &Scenario| {
        let of_rate = |t: &&(Scenario, Vec<Cell>)| t.0.rate == s.rate && t.0.name.starts_with("none");
        table.iter().filter(of_rate).all(|(_, cells)| cells[rule].stopped <= 0.01)
    };
    let mut beaten = Vec::new();
    for (s, cells) in &table {
        let best =
            (0..RULES.len()).filter(|r| fair(*r, s)).min_by(|a, b| cells[*a].exposed.total_cmp(&cells[*b].exposed));
        let words = cells.iter().enumerate().map(|(r, c)| {
            let share = if c.stopped == 1.0 { String::new() } else { format!("{:.1}% ", c.stopped * 100.0) };
            let median = c.median.map_or(String::new(), |(at, exposed)| {
                format!("{at}/{} {exposed} ", c.ninety.map_or_else(|| "-".to_owned(), |n| n.to_string()))
            });
            let mean = if s.healthy { String::new() } else { format!("({:.0})", c.exposed) };
            let bold = if !s.healthy && best == Some(r) { "**" } else { "" };
            format!("{bold}{}{bold}", format!("{share}{median}{mean}").trim())
        });
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:016x} |",
            s.rate,
            s.name,
            words.collect::<Vec<_>>().join(" | "),
            s.seed()
        );
        if !s.healthy && best.is_some_and(|b| b < 4) {
            let b = best.unwrap();
            beaten.push(format!(
                "{}/s, {}: {} exposes {:.0}, ours {:.0}",
                s.rate,
                s.name,
                RULES[b].0,
                cells[b].exposed,
                cells[4].exposed.min(cells[5].exposed)
            ));
        }
    }
    let _ = writeln!(out);
    if beaten.is_empty() {
        let _ = writeln!(
            out,
            "In every faulty scenario one of our two modes exposes the fewest requests among the rules that stop at most 1 % of the healthy canaries."
        );
    } else {
        let _ = writeln!(
            out,
            "Where another rule that stops at most 1 % of the healthy canaries exposes fewer requests:\n\n- {}",
            beaten.join("\n- ")
        );
    }
    let _ = writeln!(
        out,
        "\n### Against the reference\n\nMedian seconds until a faulty canary is stopped.\n\n| R | scenario | requests | reference | blocks | reference | within 20 % or 1 s |\n|---|---|---|---|---|---|---|"
    );
    for (rate, name, requests, blocks) in REFERENCE {
        let Some((_, cells)) = table.iter().find(|(s, _)| s.rate == rate && s.name == name) else { continue };
        let near = |got: Option<u32>, want: u32| got.is_some_and(|g| g.abs_diff(want) <= 1.max(want / 5));
        let (a, b) = (cells[4].median.map(|m| m.0), cells[5].median.map(|m| m.0));
        let word = |m: Option<u32>| m.map_or_else(|| "-".to_owned(), |m| m.to_string());
        let held = if near(a, requests) && near(b, blocks) { "yes" } else { "**no**" };
        let _ = writeln!(out, "| {rate} | {name} | {} | {requests} | {} | {blocks} | {held} |", word(a), word(b));
    }
    table
}

/// Ville's bound: how often a healthy canary is stopped.
fn bound(runs: u32, threads: usize, out: &mut String) -> bool {
    let _ = writeln!(
        out,
        "\n### Healthy canaries\n\n{runs} rollouts a row; stopped by the evidence (the promise is 1 %), and by the hard stop, which stands outside it. With bursts, requests of one version fail together: there only blocks promise anything.\n\n| R | scenario | requests | blocks | hard stop | seed |\n|---|---|---|---|---|---|"
    );
    let mut holds = true;
    for s in scenarios().into_iter().filter(|s| s.healthy && s.name != "at tolerance") {
        let s = Scenario { name: if s.bursts { s.name } else { s.name }, ..s };
        let outs = outcomes(&s, runs, threads, Rules { ours: true, theirs: false });
        eprint(&s);
        let count = |pick: Pick| outs.iter().filter(|o| pick(o).is_some()).count();
        let share = |n: usize| format!("{n} ({:.2}%)", n as f64 / f64::from(runs) * 100.0);
        let (requests, blocks, hard) = (count(|o| o.requests), count(|o| o.blocks), count(|o| o.hard_stop));
        holds &= blocks * 100 <= runs as usize && (s.bursts || requests * 100 <= runs as usize);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:016x} |",
            s.rate,
            s.name,
            share(requests),
            share(blocks),
            share(hard),
            s.seed()
        );
    }
    holds
}

#[allow(clippy::print_stderr, reason = "progress")]
fn eprint(s: &Scenario) {
    eprintln!("{:>6}/s {}", s.rate, s.name);
}

/// What one second of one release costs, from the data plane's histogram to verdict and intervals.
fn one_tick(out: &mut String) -> String {
    let beginning = |mode| Beginning { choice: ModeChoice::fixed(mode), limits: None, from: Timestamp::from_millis(0) };
    let mut random = Random::new(1);
    let mut version = |n: u64| {
        let mut edges = std::collections::BTreeMap::new();
        for _ in 0..n {
            let us = Tail::Light.quantile(random.unit()) as u64;
            *edges.entry(judge::sequential::hdr_edges(us).0).or_insert(0) += 1;
        }
        VersionTick {
            n,
            histogram: edges.into_iter().map(|(e, c)| HistogramBucket(e, c)).collect(),
            ..VersionTick::default()
        }
    };
    let ticks: Vec<Tick> = (0..64)
        .map(|i| Tick {
            seq: i,
            boot: "b".to_owned(),
            at: Timestamp::from_millis(1_000 * (i as i64 + 1)),
            weight: Weight::new(25).expect("a weight"),
            weight_changed: false,
            epoch: Epoch(1),
            stable: version(150),
            canary: Some(version(50)),
            canary_last_sent: None,
            sticky: false,
            judged: None,
        })
        .collect();
    let mut said = String::new();
    for mode in [Mode::Requests, Mode::Blocks] {
        const SECONDS: u64 = 20_000;
        let mut feed = Feed::new(Policy { warm_up_s: 0, ..Policy::default() }, beginning(mode)).expect("a policy");
        let began = Instant::now();
        for second in 0..SECONDS {
            let mut tick = ticks[second as usize % ticks.len()].clone();
            (tick.seq, tick.at) = (second, Timestamp::from_millis(1_000 * (second as i64 + 1)));
            black_box(feed.push(black_box(&tick)));
        }
        let us = began.elapsed().as_secs_f64() * 1e6 / SECONDS as f64;
        let _ = writeln!(
            said,
            "One second of one release at 200 requests/s, by {}: {us:.1} µs with its table and its intervals; state {} bytes of evidence, at most 48,000 of stable's past.",
            mode.as_str(),
            std::mem::size_of::<Feed>()
        );
    }
    let _ = write!(out, "\n{said}");
    said
}

fn plot(path: &std::path::Path, table: &[(Scenario, Vec<Cell>)]) -> Result<(), Box<dyn std::error::Error>> {
    const COLOURS: [RGBColor; 6] = [
        RGBColor(0x9a, 0x9a, 0x9a),
        RGBColor(0xc9, 0xa2, 0x27),
        RGBColor(0xb0, 0x6b, 0x2e),
        RGBColor(0x7a, 0x5b, 0xa8),
        RGBColor(0x1f, 0x77, 0xb4),
        RGBColor(0x0b, 0x3d, 0x66),
    ];
    let faulty: Vec<_> = table.iter().filter(|(s, _)| !s.healthy).collect();
    let height = 40 + faulty.len() as u32 * 22 + 60;
    let root = SVGBackend::new(path, (980, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |x: i32, y: i32, said: String, colour: RGBColor| {
        root.draw(&Text::new(said, (x, y), ("sans-serif", 12).into_font().color(&colour)))
    };
    text(12, 8, "Canary requests exposed until the stop (mean; a rollout that is not stopped counts in full). Hollow: the rule stops more than 1 % of healthy canaries.".to_owned(), BLACK)?;
    let x = |exposed: f64| 170 + (exposed.max(1.0).log10() / 6.0 * 780.0) as i32;
    for power in 0..=6 {
        let at = x(10_f64.powi(power));
        root.draw(&PathElement::new([(at, 34), (at, height as i32 - 52)], RGBColor(0xe4, 0xe4, 0xe4)))?;
        text(at - 8, height as i32 - 48, format!("10^{power}"), RGBColor(0x60, 0x60, 0x60))?;
    }
    for (row, (s, cells)) in faulty.iter().enumerate() {
        let y = 46 + row as i32 * 22;
        text(12, y - 6, format!("{}/s  {}", s.rate, s.name), BLACK)?;
        for (rule, c) in cells.iter().enumerate() {
            let of_rate = |t: &&(Scenario, Vec<Cell>)| t.0.rate == s.rate && t.0.name.starts_with("none");
            let fair = table.iter().filter(of_rate).all(|(_, cells)| cells[rule].stopped <= 0.01);
            let style = if fair { COLOURS[rule].filled() } else { COLOURS[rule].stroke_width(1) };
            root.draw(&Circle::new((x(c.exposed), y), 4, style))?;
        }
    }
    for (rule, (name, _)) in RULES.iter().enumerate() {
        let at = 12 + rule as i32 * 160;
        root.draw(&Circle::new((at + 4, height as i32 - 18), 4, COLOURS[rule].filled()))?;
        text(at + 14, height as i32 - 24, (*name).to_owned(), BLACK)?;
    }
    root.present()?;
    Ok(())
}
