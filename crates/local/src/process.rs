//! Starting a splitter that outlives this process.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
    process::Stdio,
};

/// Where the splitter's own output goes, in its state directory.
const LOG_NAME: &str = "splitter.log";

/// A log that has grown to this is begun anew at the next start: a splitter logs little, and it adds up over years.
const MAX_LOG: u64 = 16 << 20;

/// Prefixes of the server's own settings, secrets among them: not the business of the splitter's processes, which inherit what
/// it has.
const OWN_SETTINGS: [&str; 2] = ["DELIVERYOS_", "LEPTOS_"];

fn is_ours(variable: &std::ffi::OsStr) -> bool {
    OWN_SETTINGS.iter().any(|prefix| variable.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// True when the process runs another program file than the command would start. What cannot be found out counts as the same:
/// a data plane that serves is left alone then.
pub(crate) fn is_another_program(pid: u32, command: &[String]) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let Some(program) = command.first() else { return false };
    match (file(Path::new(&format!("/proc/{pid}/exe"))), file(Path::new(program))) {
        (Some(running), Some(ours)) => running != ours,
        _ => false,
    }
}

/// Starts a splitter: its output to a file, its input nothing. The command itself leaves our session.
pub(crate) fn start(command: &[String], state_dir: &Path) -> io::Result<tokio::process::Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let path = state_dir.join(LOG_NAME);
    let begin_anew = std::fs::metadata(&path).is_ok_and(|log| log.len() > MAX_LOG);
    let output = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    if begin_anew {
        output.set_len(0)?;
    }
    tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !is_ours(name)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(false)
        .spawn()
}
