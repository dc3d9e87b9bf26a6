//! `deliveryos log …`: the whole log in the data directory, without a server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use receipt_log::offline::{self, Pins};
use serde_json::json;
use store_sqlite::SqliteStore;
use tlog::VerifyingKey;

use super::{print, verdicts};
use crate::{
    args::{Global, LogVerb},
    compose::VKEY_FILE,
    exit::{REFUSED, WrongUse},
};

pub(super) async fn run(global: &Global, data_dir: PathBuf, verb: LogVerb) -> anyhow::Result<ExitCode> {
    let store = super::database(&data_dir).await?;
    match verb {
        LogVerb::Verify { vkey } => verify(global, &data_dir, &store, vkey.as_deref()).await,
        LogVerb::Export { directory } => export(global, &data_dir, &store, &directory).await,
    }
}

async fn verify(global: &Global, data_dir: &Path, store: &SqliteStore, vkey: Option<&str>) -> anyhow::Result<ExitCode> {
    let pinned = match vkey {
        Some(text) => Some(read_vkey(text)?),
        None => own_vkey(data_dir)?,
    };
    let bar = print::bar(0, "verifying");
    let pins = Pins { vkey: pinned, checkpoint: None };
    let report = offline::verify_log(store, &pins, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    let report = report.context("the log could not be read")?;
    // What does not hold as a log is not looked into.
    let recomputed = if report.holds { verdicts::recompute(store).await? } else { verdicts::Recomputed::default() };
    let holds = report.holds && recomputed.first_bad.is_none();
    if global.json {
        let mut answer = serde_json::to_value(&report)?;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("holds".to_owned(), holds.into());
            answer.insert("recomputed".to_owned(), serde_json::to_value(&recomputed)?);
        }
        print::json(&answer)?;
    } else if let Some((index, why)) = &recomputed.first_bad {
        print::line(&format!("REFUSED: receipt {index}: its verdict does not follow from its ticks: {why}"))?;
    } else if let Some(bad) = &report.first_bad {
        let place = match (bad.index, bad.until) {
            (Some(from), Some(to)) => format!("receipts {from} to {to}: "),
            (Some(index), None) => format!("receipt {index}: "),
            (None, _) => String::new(),
        };
        print::line(&format!("REFUSED: {place}{}", bad.reason))?;
        print::line(&format!("{} of {} receipts before it hold", report.checked.min(report.size), report.size))?;
    } else {
        let key = match (vkey, report.key_pinned) {
            (Some(_), _) => "the key given".to_owned(),
            (None, true) => format!("from {VKEY_FILE} beside the log; a key obtained elsewhere proves more"),
            (None, false) => "the key that the log names itself: proves only that it agrees with itself".to_owned(),
        };
        print::line(&format!("VERIFIED: {} receipts, {} bytes", report.checked, report.bytes))?;
        print::line(&format!("log   {}", report.origin.as_deref().unwrap_or("(empty)")))?;
        print::line(&format!("key   {} ({key})", report.vkey.as_deref().unwrap_or("none")))?;
        print::line(&format!("root  {}", report.root))?;
        if recomputed.verdicts > 0 {
            print::line(&format!("judge {} verdicts follow from their ticks", recomputed.verdicts))?;
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

async fn export(global: &Global, data_dir: &Path, store: &SqliteStore, directory: &Path) -> anyhow::Result<ExitCode> {
    let vkey = own_vkey(data_dir)?;
    let bar = print::bar(0, "writing");
    let done = offline::export(store, directory, vkey.as_ref(), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    let receipts = done?;
    if global.json {
        print::json(&json!({ "receipts": receipts, "directory": directory }))?;
    } else {
        print::line(&format!("{receipts} receipts written to {}", directory.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The key that the server of this data directory wrote beside its log, if any.
pub(super) fn own_vkey(data_dir: &Path) -> anyhow::Result<Option<VerifyingKey>> {
    let path = data_dir.join(VKEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().parse().with_context(|| format!("{} does not hold a key", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// A key given by a person: the text, or a file that holds it.
pub(super) fn read_vkey(given: &str) -> anyhow::Result<VerifyingKey> {
    let text = match std::fs::read_to_string(given) {
        Ok(text) if text.len() <= 1_000 => text,
        _ => given.to_owned(),
    };
    text.trim()
        .parse()
        .map_err(|error| WrongUse(format!("--vkey is not a key of c2sp.org/signed-note: {error}")).into())
}
