//! The one executable, `deliveryos`.

use crate::workspace::Workspace;
use crate::{run, site};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Stdio;

/// Builds it and says where it is. The release executable is copied into the workspace's own `target/` when Cargo builds elsewhere.
pub(crate) fn build(workspace: &Workspace, release: bool) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    cargo.current_dir(&workspace.root).args(["build", "--package", "server"]);
    if release {
        cargo.arg("--release");
    }
    run::step("executable: cargo build --package server", || run::run(&mut cargo))?;
    let built = workspace.target.join(if release { "release" } else { "debug" }).join("deliveryos");
    let promised = workspace.root.join("target/release/deliveryos");
    if !release || same_file(&built, &promised) {
        return Ok(built);
    }
    let dir = workspace.root.join("target/release");
    std::fs::create_dir_all(&dir)?;
    // Written beside and renamed: a running copy of the old one keeps its file.
    let fresh = dir.join(".deliveryos.new");
    std::fs::copy(&built, &fresh).with_context(|| format!("cannot copy {}", built.display()))?;
    std::fs::rename(&fresh, &promised)?;
    Ok(promised)
}

/// Builds what is missing and becomes `deliveryos <verb> <args>`.
pub(crate) fn build_and_run(workspace: &Workspace, verb: &str, release: bool, args: &[String]) -> Result<()> {
    site::build(workspace, release)?;
    let path = build(workspace, release)?;
    let mut command = run::command(&path.to_string_lossy());
    command.stdin(Stdio::inherit()).arg(verb).args(args.iter().skip_while(|arg| *arg == "--"));
    eprintln!("==> {}", run::line(&command));
    // Replaces this process, so that signals and the exit code are the program's own.
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(error).with_context(|| format!("cannot start {}", path.display()))
}

fn same_file(left: &std::path::Path, right: &std::path::Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
