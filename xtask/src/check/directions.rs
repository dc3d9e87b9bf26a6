//! A crate depends only on crates above it in the table, never in a circle, never sideways between adapters.

use crate::workspace::Workspace;
use anyhow::{Result, bail};

/// The rooms, from those that know nobody to the one that knows everybody. A new crate gets its place here first.
const ORDER: [&str; 31] = [
    "model",
    "tlog",
    "receipts",
    "rollout",
    "judge",
    "flags",
    "gates",
    "admission",
    "dora",
    "projections",
    "access",
    "receipt-log",
    "rekor",
    "energy",
    "controller",
    "store-sqlite",
    "store-postgres",
    "attest",
    "registry",
    "splitter",
    "local",
    "metrics",
    "cluster",
    "ingest",
    "demo",
    "app",
    "hydrate",
    "server",
    "xtask-bench",
    "xtask-site",
    "xtask",
];

/// Each ties a port to one outside thing; they meet in `server` and nowhere else.
const ADAPTERS: [&str; 9] =
    ["store-sqlite", "store-postgres", "attest", "registry", "splitter", "local", "metrics", "cluster", "ingest"];
/// `local` is the client of the splitter's control socket: it speaks the protocol that `splitter` defines.
const ALLOWED_SIDEWAYS: [(&str, &str); 1] = [("local", "splitter")];

/// Holds every dependency against the table. Tests may look sideways (a store's tests may use the memory store), never down.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut wrong = Vec::new();
    for package in &workspace.packages {
        let Some(own) = place(&package.name) else {
            wrong.push(format!("{} has no place in the order of xtask/src/check/directions.rs", package.name));
            continue;
        };
        for dep in &package.deps {
            let pair = (package.name.as_str(), dep.name.as_str());
            if place(&dep.name).is_some_and(|place| place >= own) && !dep.dev {
                wrong.push(format!("{} depends on {}, which stands below it", pair.0, pair.1));
            }
            let sideways = ADAPTERS.contains(&pair.0) && ADAPTERS.contains(&pair.1);
            if sideways && !dep.dev && !ALLOWED_SIDEWAYS.contains(&pair) {
                wrong.push(format!("{} depends on {}: adapters do not know each other", pair.0, pair.1));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == name)
}
