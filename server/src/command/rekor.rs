//! `deliveryos rekor …`: the log of signatures.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

use super::{client::Client, print, verify_bundle::read};
use crate::{
    args::{Global, RekorVerb},
    compose::TRUSTED_ROOT_FILE,
    exit::{REFUSED, Refusal, WrongUse},
};

pub(super) async fn run(global: &Global, data_dir: PathBuf, verb: RekorVerb) -> anyhow::Result<ExitCode> {
    match verb {
        RekorVerb::TrustedRoot => {
            let root: Value = match &global.server {
                Some(_) => Client::new(global)?.get("/rekor/trusted_root.json").await?,
                None => own(&data_dir)?,
            };
            print::line(&serde_json::to_string_pretty(&root)?)?;
            Ok(ExitCode::SUCCESS)
        }
        RekorVerb::Verify => verify(global, &data_dir).await,
    }
}

/// What a server has left in its data directory.
fn own(data_dir: &Path) -> anyhow::Result<Value> {
    let path = data_dir.join(TRUSTED_ROOT_FILE);
    if !path.exists() {
        let why = "no server has begun a log of signatures there: start one, or name one that runs with --server";
        return Err(WrongUse(format!("{}: {why}", data_dir.display())).into());
    }
    let bytes = read(&path, attest::limits::MAX_TRUST_ROOT)?;
    let root = serde_json::from_slice(&bytes);
    root.map_err(|error| Refusal(format!("{} is damaged: {error}", path.display())).into())
}

async fn verify(global: &Global, data_dir: &Path) -> anyhow::Result<ExitCode> {
    let path = data_dir.join(TRUSTED_ROOT_FILE);
    let store = super::database(data_dir).await?;
    let key = rekor::key_of(&own(data_dir)?);
    let key = key.ok_or_else(|| Refusal(format!("{} names no log of signatures", path.display())))?;
    let audit = rekor::audit(&store.rekor(), &key, &store).await?;
    if global.json {
        print::json(&audit)?;
    } else {
        print::line(&match &audit.reason {
            None => format!("HOLDS: {}: {} entries, each noted by a receipt", audit.origin, audit.entries),
            Some(why) => format!("REFUSED: {}: {why}", audit.origin),
        })?;
    }
    Ok(if audit.holds { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}
