//! The one executable, `deliveryos`, and the small service beside it that its demo puts into images.

use crate::progress::{self, Stages};
use crate::workspace::Workspace;
use crate::{run, site};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// How many stages [`build`] has.
pub(crate) const STAGES: usize = 1;
const EXECUTABLE: &str = "deliveryos";
/// The program in the images of the demo, which looks for it beside itself.
const SERVICE: &str = "demo-service";

/// Builds both and says where the executable is. In a release they are copied into the workspace's own `target/` when Cargo builds elsewhere.
pub(crate) fn build(workspace: &Workspace, release: bool, stages: &mut Stages) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    // At once: each would be built with other features of the crates that both use.
    cargo.current_dir(&workspace.root).args(["build", "--package", "server", "--package", "demo"]);
    cargo.args(["--bin", EXECUTABLE, "--bin", SERVICE]);
    if release {
        cargo.arg("--release");
    }
    stages.next("the program, and the service of the demo", || progress::cargo(&mut cargo))?;
    let built = workspace.target.join(if release { "release" } else { "debug" });
    let promised = workspace.root.join("target/release");
    if !release || same_folder(&built, &promised) {
        return Ok(built.join(EXECUTABLE));
    }
    std::fs::create_dir_all(&promised)?;
    for name in [EXECUTABLE, SERVICE] {
        // Written beside and renamed: a running copy of the old one keeps its file.
        let fresh = promised.join(format!(".{name}.new"));
        std::fs::copy(built.join(name), &fresh)
            .with_context(|| format!("cannot copy {}", built.join(name).display()))?;
        std::fs::rename(&fresh, promised.join(name))?;
    }
    Ok(promised.join(EXECUTABLE))
}

/// Builds what is missing and becomes `deliveryos <verb> <args>`.
pub(crate) fn build_and_run(workspace: &Workspace, verb: &str, release: bool, args: &[String]) -> Result<()> {
    let mut stages = Stages::of(site::STAGES + STAGES);
    if !workspace.target.join(if release { "release" } else { "debug" }).join(EXECUTABLE).is_file() {
        eprintln!(
            "The first build, in {} stages: about 12 minutes on two cores. The next start takes seconds.",
            site::STAGES + STAGES
        );
    }
    site::build(workspace, release, &mut stages)?;
    let path = build(workspace, release, &mut stages)?;
    let mut command = run::command(&path.to_string_lossy());
    command.stdin(Stdio::inherit()).arg(verb).args(args.iter().skip_while(|arg| *arg == "--"));
    eprintln!("==> {}", run::line(&command));
    // Replaces this process, so that signals and the exit code are the program's own.
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(error).with_context(|| format!("cannot start {}", path.display()))
}

fn same_folder(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
