//! `deliveryos judge …`: a verdict again, from its ticks.

use std::{
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use judge::sequential::{MAX_LINE, Measure, Mode, Policy, Replay, Replayed, StoppedBy};

use super::print;
use crate::{
    args::{Global, JudgeMode, JudgeVerb, ReplayOptions},
    exit::WrongUse,
};

/// Largest policy file: ten times the longest with all grids full.
const MAX_POLICY: u64 = 64 * 1024;
/// Most of one line that is passed over, bytes: what has no end of line in so much is no table.
const MAX_SKIPPED: u64 = 64 * 1024 * 1024;

pub(super) fn run(global: &Global, verb: JudgeVerb) -> anyhow::Result<ExitCode> {
    match verb {
        JudgeVerb::Replay(options) => replay(global, &options),
        JudgeVerb::Ticks(options) => super::ticks::run(&options),
    }
}

fn replay(global: &Global, options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let policy = policy(options)?;
    let mode = match options.mode {
        Some(JudgeMode::Requests) => Mode::Requests,
        Some(JudgeMode::Blocks) => Mode::Blocks,
        None => policy.mode.unwrap_or(Mode::Requests),
    };
    let mut replay = Replay::new(policy, mode).map_err(|error| WrongUse(error.to_string()))?;
    if options.file == Path::new("-") {
        lines(std::io::stdin().lock(), &mut replay)?;
    } else {
        let name = options.file.display();
        let file =
            std::fs::File::open(&options.file).map_err(|error| WrongUse(format!("{name} cannot be read: {error}")))?;
        lines(BufReader::new(file), &mut replay).with_context(|| format!("{name} cannot be replayed"))?;
    }
    let replayed = replay.finish().map_err(|error| WrongUse(error.to_string()))?;
    if global.json {
        print::json(&replayed)?;
    } else {
        show(&replayed)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn policy(options: &ReplayOptions) -> anyhow::Result<Policy> {
    let mut policy = match &options.policy {
        None => Policy::default(),
        Some(path) => {
            let name = path.display();
            let file =
                std::fs::File::open(path).map_err(|error| WrongUse(format!("{name} cannot be read: {error}")))?;
            let mut text = String::new();
            file.take(MAX_POLICY + 1)
                .read_to_string(&mut text)
                .map_err(|error| WrongUse(format!("{name} cannot be read: {error}")))?;
            if text.len() as u64 > MAX_POLICY {
                return Err(WrongUse(format!("{name} is larger than {} kB: not a policy", MAX_POLICY / 1024)).into());
            }
            serde_json::from_str(&text).map_err(|error| WrongUse(format!("{name} is not a policy: {error}")))?
        }
    };
    if let Some(alpha) = options.alpha {
        policy.alpha = alpha;
    }
    if let Some(weights) = &options.weights {
        let [abs, rel, p99] = weights
            .split(',')
            .map(|w| w.trim().parse::<f64>())
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .and_then(|w| <[f64; 3]>::try_from(w).ok())
            .ok_or_else(|| WrongUse("--weights takes three numbers, of abs, rel and p99: 0.25,0.25,0.5".to_owned()))?;
        policy.weights = judge::sequential::PerMeasure { abs, rel, p99 };
    }
    Ok(policy)
}

/// Reads line by line: what is beyond the longest allowed is passed over, not kept.
fn lines(mut from: impl BufRead, replay: &mut Replay) -> anyhow::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut from).take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line).context("reading failed")?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && read > MAX_LINE + 1 {
            let skipped = (&mut from).take(MAX_SKIPPED).skip_until(b'\n').context("reading failed")?;
            if skipped as u64 == MAX_SKIPPED {
                return Err(
                    WrongUse(format!("a line has more than {} MB: no table of ticks", MAX_SKIPPED >> 20)).into()
                );
            }
        }
        replay.line(&line).map_err(|error| WrongUse(error.to_string()))?;
    }
}

fn show(r: &Replayed) -> anyhow::Result<()> {
    let log10 = |ln: f64| ln / std::f64::consts::LN_10;
    print::line(r.verdict.as_str())?;
    match (r.stopped_by, r.hard_stop_at, r.crossed_at) {
        (Some(StoppedBy::HardStop), Some(at), _) => print::line(&format!("stopped by the hard stop at tick {at}"))?,
        (_, _, Some(at)) => print::line(&format!("the evidence crossed 1/{} at tick {at}", 1.0 / r.alpha))?,
        _ => {}
    }
    let row = |name: &str, ln: f64| vec![name.to_owned(), format!("{ln:.9}"), format!("{:.3}", log10(ln))];
    let mut rows = vec![row("joint", r.ln_e.joint)];
    rows.extend(Measure::ALL.into_iter().map(|m| row(m.as_str(), r.ln_e.each.get(m))));
    if let Some(split) = r.split_ln_e {
        rows.push(row("split", split));
    }
    print::table(&["evidence", "ln e", "log10 e"], &rows)?;
    print::line(&format!(
        "{} ticks, {} canary and {} stable requests, by {}",
        r.totals.ticks,
        r.totals.canary.n,
        r.totals.stable.n,
        r.mode.as_str()
    ))?;
    for problem in &r.problems {
        print::line(&format!("not taken: {problem}"))?;
    }
    Ok(())
}
