//! Starting other programs: a clean environment, time limits, failures that name the command.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often a running program is looked at. Only a person or a minutes-long limit waits for it.
const POLL: Duration = Duration::from_millis(50);

/// What `cargo run` sets for the program it starts and another Cargo must not inherit: it would rebuild crates whose build scripts
/// watch these, or run a foreign compiler with our libraries.
const CARGO_RUN_PREFIXES: [&str; 6] =
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "LD_LIBRARY_PATH"];

/// A program, without the variables that `cargo run` added for xtask itself.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if CARGO_RUN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The Cargo that runs xtask.
pub(crate) fn cargo() -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&program);
    command.env_remove("CARGO");
    command
}

/// Whether a program of this name can be started.
pub(crate) fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is, by `PATH`.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Runs to the end with our own output.
///
/// # Errors
/// When it cannot be started or does not end with 0; the message is the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    succeed(&line, status)
}

/// Runs to the end and returns what it wrote to standard output; its standard error is part of a failure's message.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not write UTF-8"))
}

/// What [`limited`] saw.
pub(crate) struct Ended {
    /// `None`: killed at the limit.
    pub(crate) status: Option<ExitStatus>,
    /// Both outputs, in the order in which lines arrived.
    pub(crate) text: String,
}

/// Runs with both outputs captured. `alive` is asked again and again how far things are; when its answer has not changed for `quiet`
/// and no line was written either, the program is killed. Each line is handed to `line` as it comes.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn limited(
    command: &mut Command,
    quiet: Duration,
    mut alive: impl FnMut() -> u64,
    mut on_line: impl FnMut(&str),
) -> Result<Ended> {
    let shown = line(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let lines = read_lines(&mut child);
    let mut text = String::new();
    let mut last = (Instant::now(), alive());
    let mut take = |text: &mut String, got: String| {
        on_line(&got);
        text.push_str(&got);
        text.push('\n');
    };
    let status = loop {
        match lines.recv_timeout(POLL) {
            Ok(got) => {
                last.0 = Instant::now();
                take(&mut text, got);
                continue;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
        }
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        let now = alive();
        if now != last.1 {
            last = (Instant::now(), now);
        } else if last.0.elapsed() > quiet {
            child.kill()?;
            child.wait()?;
            break None;
        }
    };
    // What is still in the pipes; a grandchild that keeps them open does not hold us up.
    while let Ok(got) = lines.recv_timeout(POLL) {
        take(&mut text, got);
    }
    Ok(Ended { status, text })
}

/// Says what is being done, does it, says how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = work().with_context(|| what.to_owned());
    if result.is_ok() && start.elapsed() > Duration::from_secs(2) {
        eprintln!("    {what}: {}", seconds(start.elapsed()));
    }
    result
}

/// A duration as people say it.
pub(crate) fn seconds(time: Duration) -> String {
    let all = time.as_secs_f64();
    if all < 60.0 { format!("{all:.1} s") } else { format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60) }
}

/// The command line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let mut parts = vec![command.get_program().to_string_lossy().into_owned()];
    parts.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    if let Some(name) = std::path::Path::new(&parts[0]).file_name() {
        parts[0] = name.to_string_lossy().into_owned();
    }
    parts.join(" ")
}

fn succeed(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

fn read_lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
        child.stderr.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
    ];
    for output in outputs.into_iter().flatten() {
        let send = send.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                bytes.clear();
                if send.send(text).is_err() {
                    break;
                }
            }
        });
    }
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_program_is_killed_and_a_talking_one_is_not() {
        let silent = limited(command("sleep").arg("60"), Duration::from_millis(200), || 0, |_| {}).unwrap();
        assert!(silent.status.is_none());
        let talking = limited(command("printf").arg("a\\nb"), Duration::from_secs(20), || 0, |_| {}).unwrap();
        assert!(talking.status.is_some_and(|status| status.success()));
        assert_eq!(talking.text, "a\nb\n");
    }

    #[test]
    fn a_failure_names_the_command_and_its_words() {
        let error = output(command("ls").arg("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("`ls /nonexistent`"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
