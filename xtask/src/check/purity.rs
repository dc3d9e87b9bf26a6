//! Pure crates do no I/O and cannot see a clock: none of their dependencies can, and they compile for the browser.

use crate::run;
use crate::setup::{self, BrowserTarget};
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use serde_json::Value;

/// The crates marked W in the architecture, without that of [`BROWSER`].
const PURE: [&str; 10] =
    ["model", "tlog", "receipts", "rollout", "judge", "flags", "gates", "admission", "dora", "projections"];
/// The browser's own crate: never compiled natively.
pub(crate) const BROWSER: [&str; 1] = ["hydrate"];
/// Crates that bring a runtime, a socket, a file, a clock or randomness.
const BANNED: [&str; 22] = [
    "tokio",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "axum",
    "sqlx",
    "libsqlite3-sys",
    "rusqlite",
    "kube",
    "rustix",
    "nix",
    "getrandom",
    "rand",
    "fastrand",
    "chrono",
    "time",
    "ring",
    "aws-lc-sys",
    "openssl-sys",
];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let pure: Vec<&str> =
        PURE.into_iter().filter(|name| workspace.packages.iter().any(|package| package.name == *name)).collect();
    let mut wrong = Vec::new();
    for name in &pure {
        wrong.extend(banned_below(workspace, name)?);
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    let target = setup::browser_target(workspace)?;
    compile(workspace, &target, &pure)
}

/// Banned crates in the tree that the browser would get. Host-side build scripts and macros do not count: they run elsewhere.
fn banned_below(workspace: &Workspace, name: &str) -> Result<Vec<String>> {
    let tree = run::output(run::cargo().current_dir(&workspace.root).args([
        "tree",
        "--package",
        name,
        "--target",
        "wasm32-unknown-unknown",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]))?;
    let found = tree.lines().filter_map(|line| line.split_whitespace().next()).filter(|found| BANNED.contains(found));
    let mut found: Vec<&str> = found.collect();
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().map(|found| format!("{name} is pure and yet depends on {found}")).collect())
}

/// Compiles them, with the browser crates, in the profile that the site uses; a warning of ours is an error. Cargo repeats a crate's
/// warnings when it need not compile it again, so the answer does not depend on what was built before.
fn compile(workspace: &Workspace, target: &BrowserTarget, pure: &[&str]) -> Result<()> {
    let mut cargo = target.cargo_build(workspace, false);
    for name in pure.iter().chain(&BROWSER) {
        cargo.args(["--package", name]);
    }
    // Once for people to read, and once more (nothing is left to compile) to count.
    run::run(&mut cargo)?;
    let text = run::output(cargo.args(["--quiet", "--message-format", "json"]))?;
    let warnings = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-message" && message["message"]["level"] == "warning")
        .count();
    if warnings > 0 {
        bail!("{warnings} warnings in crates for the browser (shown above)");
    }
    Ok(())
}
