//! Makes the site of a release smaller: `wasm-opt` for modules, `esbuild` for scripts and style sheets, from `xtask/minify`. What they do changes
//! nothing that a page does.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module below this size is not worth the start of the tool.
const LEAST: u64 = 4_096;
/// What the compiler's modules use; the tool has to be told.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-extended-const",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Makes these files smaller where they are. `programs` is where the tools are.
pub(crate) fn files(programs: &Path, files: &[PathBuf]) -> Result<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            one(programs, file)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread ended early")))
    })
}

fn one(programs: &Path, file: &Path) -> Result<()> {
    let mut command;
    match file.extension().and_then(OsStr::to_str) {
        Some("wasm") if std::fs::metadata(file)?.len() < LEAST => return Ok(()),
        Some("wasm") => {
            command = Command::new(programs.join("wasm-opt"));
            // For size, but no further: the smallest module is not the smallest one once it is compressed. Its control flow is made anew
            // from flat code. Nothing stands below 1024: the compiler puts the stack first, which grows down to there.
            command
                .arg(file)
                .arg("-o")
                .arg(file)
                .args(["--low-memory-unused", "--flatten", "--rereloop", "-Os"])
                .args(FEATURES);
        }
        Some("js" | "css") => {
            command = Command::new(programs.join("esbuild"));
            command.arg(file).args(["--minify", "--target=es2022", "--log-level=warning", "--allow-overwrite"]);
            command.arg(format!("--outfile={}", file.display()));
            if file.extension().is_some_and(|end| end == "js") {
                command.arg("--format=esm");
            }
        }
        _ => bail!("{} is none of what can be made smaller", file.display()),
    }
    let ended = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !ended.status.success() {
        bail!("{} fails on {}: {}", programs.display(), file.display(), String::from_utf8_lossy(&ended.stderr));
    }
    Ok(())
}
