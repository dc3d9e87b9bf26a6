//! Real peers that are built with Go, where it is: programs of others, or small ones of this repository around their modules, each pinned by a
//! `go.sum`.
//! Nothing else needs Go. Without it, or when its module proxy is away, their tests say that they are skipped, on CI too.

use crate::fingerprint::{Fingerprint, fresh, remember};
use crate::setup::{Found, peers, tail};
use crate::workspace::Workspace;
use crate::{oci_peers, run};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The programs, the module that each is built in, and the package of it.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("referrers-registry", "crates/registry/tests/peers/referrers-registry", "."),
    ("rekor-tiles-client", "server/tests/peers/rekor-tiles-client", "."),
    (
        "rekor-server-posix",
        "server/tests/peers/rekor-server",
        "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
    ),
    ("actionlint", "server/tests/peers/actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
];
/// Go says each module that it fetches and each package that it compiles. This long without a word: the proxy does not answer.
const QUIET: Duration = Duration::from_secs(120);

/// The programs that are there, after those that are not were built.
pub(crate) fn programs(workspace: &Workspace) -> Result<Vec<(&'static str, Found)>> {
    PROGRAMS.into_iter().map(|(name, source, package)| Ok((name, program(workspace, name, source, package)?))).collect()
}

fn program(workspace: &Workspace, name: &str, source: &str, package: &str) -> Result<Found> {
    if let Some(path) = run::find(name) {
        return Ok(Found::At(path));
    }
    let source = workspace.root.join(source);
    let path = peers(workspace).join(name);
    let state = workspace.cache().join("go-peers");
    let (built, refused) = (state.join(name), state.join(format!("{name}-did-not-build")));
    let mut fingerprint = Fingerprint::default();
    fingerprint.tree(&source)?;
    let fingerprint = fingerprint.finish();
    if path.is_file() && fresh(&built, &fingerprint) {
        return Ok(Found::At(path));
    }
    if !run::exists("go") {
        return Ok(Found::Missing("It is built where there is Go (1.25 or later): https://go.dev/dl/".to_owned()));
    }
    if fresh(&refused, &fingerprint) && lately(&refused) {
        let why =
            format!("It could not be built a short while ago; to try again at once, remove {}", refused.display());
        return Ok(Found::Missing(why));
    }
    std::fs::create_dir_all(peers(workspace))?;
    run::step(&format!("{name}: go build in {}", workspace.relative(&source)), || {
        let mut go = run::command("go");
        go.current_dir(&source)
            .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&path)
            .arg(package)
            // The Go that is here, these modules alone, no C compiler.
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0");
        let ended = run::limited(&mut go, QUIET, || 0, |_| {})?;
        if ended.status.is_some_and(|status| status.success()) {
            remember(&built, &fingerprint)?;
            return Ok(Found::At(path));
        }
        remember(&refused, &fingerprint)?;
        Ok(Found::Missing(format!("`go build` in {} failed:\n{}", workspace.relative(&source), tail(&ended.text, 4))))
    })
}

fn lately(file: &Path) -> bool {
    std::fs::metadata(file)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < oci_peers::AGAIN))
}
