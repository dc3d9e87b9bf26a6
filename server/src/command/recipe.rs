//! `deliveryos recipe …`.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use controller::SampleStore;
use model::{ServiceId, Timestamp};
use projections::{ReadModel as _, ReleaseFilter};
use rollout::{Finding, LintReport, Recipe, Refusal, Severity, lint, timetable, unsupported_locally};
use serde_json::json;
use store_sqlite::SqliteStore;

use super::{client::Client, print, sight};
use crate::{
    args::{Global, RecipeVerb},
    exit::{REFUSED, WrongUse},
    false_stops::estimate,
    router::TrafficAnswer,
};

/// Largest recipe file read: a hundred times the largest of Argo's own examples.
const MAX_FILE: u64 = 1024 * 1024;
/// Releases looked at for the traffic so far.
const RELEASES: u32 = 5;
/// Seconds of a release that are read for it.
const TICKS: u32 = 1_000;
/// Seconds from which they say something.
const ENOUGH: usize = 10;
/// Most files at once.
const MAX_FILES: usize = 1_000;

pub(super) async fn run(
    global: &Global,
    data_dir: anyhow::Result<PathBuf>,
    verb: RecipeVerb,
) -> anyhow::Result<ExitCode> {
    match verb {
        RecipeVerb::Lint { files, runtime, rate, service } => {
            let rate = match &service {
                None => rate,
                Some(service) if global.server.is_some() => Some(seen_by_server(global, service).await?),
                Some(service) => Some(seen_in(&data_dir?, service).await?),
            };
            lint_files(global, &files, runtime.is_some(), rate)
        }
        RecipeVerb::Plan { file, speed, rate } => plan(global, &file, speed, rate),
    }
}

/// The service's rate, as a running server sees it.
async fn seen_by_server(global: &Global, service: &ServiceId) -> anyhow::Result<f64> {
    let traffic: TrafficAnswer = Client::new(global)?.get(&format!("/api/v1/services/{service}/traffic")).await?;
    traffic.rate.with_context(|| format!("{service} has had less than a minute of traffic: say --rate"))
}

/// The service's rate in its newest release that has any, from what was kept of it.
async fn seen_in(data_dir: &Path, service: &ServiceId) -> anyhow::Result<f64> {
    let store = SqliteStore::open_read_only(data_dir).await?;
    let filter = ReleaseFilter { service: Some(service.clone()), limit: RELEASES, ..ReleaseFilter::default() };
    for row in store.releases(filter).await? {
        let ticks = SampleStore::ticks(&store, &row.id, Timestamp::from_millis(0), TICKS).await?;
        let requests: u64 = ticks.iter().map(|t| t.stable.n + t.canary.as_ref().map_or(0, |c| c.n)).sum();
        if ticks.len() >= ENOUGH && requests > 0 {
            let rate = requests as f64 / ticks.len() as f64;
            print::note(&format!("{service} had {rate:.1} requests/s in release {}", row.id));
            return Ok(rate);
        }
    }
    anyhow::bail!("the last {RELEASES} releases of {service} here have no traffic kept: say --rate")
}

/// What the local runtime does not carry out of these files' recipes. What cannot become a release at all is added to the findings.
fn refused_here(files: &[(&str, &[u8])], report: &mut LintReport) -> Vec<Refusal> {
    let follows = |file: &str| report.documents.iter().any(|d| d.kind == "Rollout" && d.file == file);
    let (recipes, templates): (Vec<_>, Vec<_>) = files.iter().copied().partition(|(name, _)| follows(name));
    let mut refusals = Vec::new();
    for recipe in &recipes {
        // One recipe is a release. Its templates may stand in any of the files; of several recipes, in its own and in those without a Rollout.
        let alone = [&[*recipe][..], &templates].concat();
        match Recipe::load(if recipes.len() == 1 { files } else { &alone }) {
            Ok(recipe) => refusals.extend(unsupported_locally(&recipe)),
            Err(wrong) => report.findings.extend(wrong.findings.into_iter().filter(|f| f.severity == Severity::Error)),
        }
    }
    refusals
}

fn lint_files(global: &Global, paths: &[PathBuf], local: bool, rate: Option<f64>) -> anyhow::Result<ExitCode> {
    if paths.len() > MAX_FILES {
        return Err(WrongUse(format!("at most {MAX_FILES} files")).into());
    }
    let read = paths.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let files: Vec<(&str, &[u8])> = read.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let mut report = lint(&files);
    if report.is_clean() && report.documents.is_empty() {
        // What was cut off must not pass.
        return Err(WrongUse("there is no document in it: nothing was checked".to_owned()).into());
    }
    let refusals = if local && report.is_clean() { refused_here(&files, &mut report) } else { Vec::new() };
    let clean = report.is_clean() && refusals.is_empty();
    let often = match rate {
        Some(rate) if report.is_clean() => Recipe::load(&files).ok().and_then(|r| estimate(&r, rate)),
        _ => None,
    };
    if global.json {
        print::json(&json!({
            "clean": clean, "findings": report.findings, "documents": report.documents, "unsupported": refusals,
            "rate": rate, "false_stops": often.as_ref().and_then(|o| o.stops), "estimate": often,
        }))?;
    } else {
        show(&report)?;
        for refusal in &refusals {
            print::line(&format!("{}: not with --runtime local: {}", refusal.field, refusal.reason))?;
        }
        if let Some(often) = &often {
            if let Some(warning) = often.warning() {
                print::line(&format!("warning: {warning}"))?;
            }
            for why in &often.not_estimated {
                print::line(&format!("note: how often it stops a healthy canary is not estimated: {why}"))?;
            }
        }
        let (errors, others): (Vec<&Finding>, Vec<&Finding>) =
            report.findings.iter().partition(|finding| finding.severity == Severity::Error);
        let verdict = if clean { "clean" } else { "refused" };
        let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        print::line(&format!(
            "{verdict}: {} in {}, {}, {}",
            count(report.documents.len(), "document"),
            count(paths.len(), "file"),
            count(errors.len() + refusals.len(), "error"),
            count(others.len(), "other finding"),
        ))?;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn plan(global: &Global, path: &PathBuf, speed: f64, rate: Option<f64>) -> anyhow::Result<ExitCode> {
    let (name, bytes) = read(path)?;
    let recipe = match Recipe::load(&[(&name, &bytes)]) {
        Ok(recipe) => recipe.speed(speed),
        Err(report) => {
            if global.json {
                print::json(&json!({ "clean": false, "findings": report.findings }))?;
            } else {
                show(&report)?;
            }
            return Ok(ExitCode::from(REFUSED));
        }
    };
    let rows = timetable(&recipe);
    let sight = rate.map(|rate| sight::of(&recipe, &rows, rate));
    if global.json {
        print::json(&json!({
            "name": recipe.name, "speed": speed, "planned_ms": rollout::planned_ms(&recipe), "rows": rows,
            "unsupported": unsupported_locally(&recipe), "rate": rate, "sees": sight,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = |ms: Option<i64>| ms.map_or_else(|| "?".to_owned(), projections::say::duration);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                (row.step + 1).to_string(),
                time(row.starts_ms),
                time(row.takes_ms),
                row.weight.to_string(),
                row.what.clone(),
                row.gate.clone(),
            ]
        })
        .collect();
    print::table(&["step", "starts", "takes", "weight", "what", "goes on when"], &cells)?;
    match rollout::planned_ms(&recipe) {
        Some(ms) => print::line(&format!("planned: {}", projections::say::duration(ms)))?,
        None => print::line("planned: no fixed length: a step waits for a person or an analysis")?,
    }
    if let (Some(sight), Some(rate)) = (sight, rate) {
        sight::show(&sight, rate)?;
    }
    for refusal in unsupported_locally(&recipe) {
        print::note(&format!("not with the local runtime: {}: {}", refusal.field, refusal.reason));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(report: &LintReport) -> anyhow::Result<()> {
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
        let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        print::line(&format!(
            "{}:{}:{}: {severity}: {field}{}{hint}",
            finding.file, finding.line, finding.column, finding.message
        ))?;
    }
    Ok(())
}

/// A recipe file: its name and its bytes.
pub(super) fn read(path: &PathBuf) -> anyhow::Result<(String, Vec<u8>)> {
    let file =
        std::fs::File::open(path).map_err(|error| WrongUse(format!("{} cannot be read: {error}", path.display())))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("{} cannot be read", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(WrongUse(format!("{} is larger than {} kB: not a recipe", path.display(), MAX_FILE / 1024)).into());
    }
    Ok((path.display().to_string(), bytes))
}
