//! Real peers that speak OCI: Debian's docker-registry, and from Debian unstable the clients oras, crane and cosign. All are unpacked into
//! the target directory: nothing of the system changes, no service is started.

use crate::setup::{Found, INSTALL_QUIET, peers, unpack_package};
use crate::workspace::Workspace;
use crate::{fingerprint, run};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The clients. They come from unstable because the stable release has none of them.
pub(crate) const CLIENTS: [&str; 3] = ["oras", "crane", "cosign"];
/// Where Debian keeps the archive; a mirror of one's own stands first in the system's list.
const ARCHIVE: &str = "http://deb.debian.org/debian";
/// The key that signs it, as Debian installs it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// After this an archive that could not be reached is asked again.
pub(crate) const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// A real registry without the referrers API.
pub(crate) fn docker_registry(workspace: &Workspace) -> Result<Found> {
    if let Some(path) = run::find("docker-registry") {
        return Ok(Found::At(path));
    }
    let path = peers(workspace).join("docker-registry");
    if !path.is_file() && run::exists("apt-get") && run::exists("dpkg") {
        run::step("docker-registry: unpack Debian's package", || unpack_package(workspace, "docker-registry"))?;
    }
    if path.is_file() {
        return Ok(Found::At(path));
    }
    Ok(Found::Missing("Install it: `sudo apt-get install -y docker-registry`.".to_owned()))
}

/// The clients that are there, after those that are not were looked for in Debian unstable.
pub(crate) fn clients(workspace: &Workspace) -> Result<Vec<(&'static str, Found)>> {
    let at = |name: &str| {
        let unpacked = peers(workspace).join(name);
        run::find(name).or_else(|| unpacked.is_file().then_some(unpacked))
    };
    let refused = workspace.cache().join("debian-unstable-did-not-answer");
    let lately = std::fs::metadata(&refused)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < AGAIN));
    let missing: Vec<&str> = CLIENTS.into_iter().filter(|name| at(name).is_none()).collect();
    let debian = run::exists("apt-get") && run::exists("dpkg") && Path::new(KEYRING).is_file();
    if !missing.is_empty() && debian && !lately {
        let got = run::step(&format!("{}: unpack packages of Debian unstable", missing.join(", ")), || {
            unpack_unstable(workspace, &missing)
        })?;
        if !got {
            std::fs::write(&refused, "")?;
        }
    }
    let why = "It is a package of Debian unstable (or the project's own release): put it on the PATH.";
    Ok(CLIENTS
        .into_iter()
        .map(|name| (name, at(name).map_or_else(|| Found::Missing(why.to_owned()), Found::At)))
        .collect())
}

/// With package lists of its own. `false`: the archive could not be reached.
fn unpack_unstable(workspace: &Workspace, packages: &[&str]) -> Result<bool> {
    let root = workspace.cache().join("peers");
    let state = root.join("unstable");
    for dir in ["lists/partial", "cache/archives/partial", "downloads"] {
        std::fs::create_dir_all(state.join(dir))?;
    }
    let source = state.join("unstable.list");
    std::fs::write(&source, format!("deb [signed-by={KEYRING}] {ARCHIVE} unstable main\n"))?;
    let options = [
        format!("Dir::Etc::sourcelist={}", source.display()),
        "Dir::Etc::sourceparts=/nonexistent".to_owned(),
        format!("Dir::State::lists={}", state.join("lists").display()),
        format!("Dir::Cache={}", state.join("cache").display()),
        // Only names and versions are read.
        "Acquire::Languages=none".to_owned(),
    ];
    let downloads = state.join("downloads");
    let apt = |args: &[&str]| -> Result<bool> {
        let mut apt = run::command("apt-get");
        apt.current_dir(&downloads).arg("-q");
        for option in &options {
            apt.arg("-o").arg(option);
        }
        let ended = run::limited(apt.args(args), INSTALL_QUIET, || 0, |_| {})?;
        Ok(ended.status.is_some_and(|status| status.success()))
    };
    if !apt(&["update"])? {
        eprintln!("    Debian unstable could not be reached");
        return Ok(false);
    }
    for package in packages {
        if !apt(&["download", package])? {
            eprintln!("    apt-get download {package} did not succeed");
            return Ok(false);
        }
        let deb = fingerprint::files_below(&downloads)?.into_iter().find(|file| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        });
        if let Some(deb) = deb {
            run::run(run::command("dpkg").arg("-x").arg(&deb).arg(&root))?;
        }
    }
    Ok(true)
}
