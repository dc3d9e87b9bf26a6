//! `deliveryos receipt verify FILE`.

use std::{io::Read as _, path::Path, process::ExitCode};

use anyhow::Context as _;
use receipt_log::offline::verify_receipt_file;
use receipts::Check;
use serde_json::json;

use super::{data_dir, log, print};
use crate::{
    args::{Global, ReceiptVerb},
    exit::{REFUSED, Refusal, WrongUse},
};

/// Longest file: an entry, its proof and a checkpoint with many witnesses.
const MAX_FILE: u64 = 1024 * 1024;

pub(super) async fn run(global: &Global, verb: ReceiptVerb) -> anyhow::Result<ExitCode> {
    let ReceiptVerb::Verify { file, vkey } = verb;
    let key = match &vkey {
        Some(given) => log::read_vkey(given)?,
        None => log::own_vkey(&data_dir(global, super::DATA_DIR)?)?.ok_or_else(|| {
            WrongUse("say --vkey KEY: there is no log in the data directory whose key could be used".to_owned())
        })?,
    };
    let bytes = read(&file)?;
    let report = verify_receipt_file(&bytes, &key)
        .map_err(|error| Refusal(format!("{} is not a receipt: {error}", file.display())))?;
    let checks = [
        ("signature", &report.signature),
        ("inclusion", &report.inclusion),
        ("checkpoint", &report.checkpoint_signature),
        ("consistency", &report.consistency),
    ];
    let holds = report.holds();
    if global.json {
        let checks: serde_json::Map<String, serde_json::Value> = checks
            .iter()
            .map(|(name, check)| {
                let said = match check {
                    Check::Passed => json!({ "holds": true }),
                    other => json!({ "holds": null_or_false(other), "reason": words(other) }),
                };
                ((*name).to_owned(), said)
            })
            .collect();
        print::json(&json!({
            "holds": holds, "index": report.index, "release": report.release, "vkey": key.to_string(),
            "checks": checks, "payload": report.payload,
        }))?;
    } else {
        let index = report.index.map(|index| format!("receipt {index}")).unwrap_or_else(|| "receipt".to_owned());
        let what =
            report.payload.as_ref().map(|p| format!(": {} by {} at {}", p.kind, p.actor, p.time)).unwrap_or_default();
        print::line(&format!("{}: {index}{what}", if holds { "VERIFIED" } else { "REFUSED" }))?;
        for (name, check) in checks {
            print::line(&format!("  {name:<12} {}", words(check)))?;
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn null_or_false(check: &Check) -> Option<bool> {
    match check {
        Check::Passed => Some(true),
        Check::Refused(_) => Some(false),
        Check::NotDone(_) => None,
    }
}

fn words(check: &Check) -> String {
    match check {
        Check::Passed => "holds".to_owned(),
        Check::Refused(why) => format!("REFUSED: {why}"),
        Check::NotDone(why) => format!("not checked: {why}"),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file =
        std::fs::File::open(path).map_err(|error| WrongUse(format!("{} cannot be read: {error}", path.display())))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("{} cannot be read", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Refusal(format!("{} is longer than a receipt can be", path.display())).into());
    }
    Ok(bytes)
}
