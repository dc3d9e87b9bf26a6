//! Processes of versions: started, found again by id and start time, ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::spec::{Source, VersionSpec};

/// How often a process that is not our child is looked at: its parent, not we, is told of its end.
const LOOK: Duration = Duration::from_millis(100);

/// A log file that has grown to this is emptied: a chatty process must not fill the disk.
pub(crate) const MAX_LOG: u64 = 16 << 20;

/// A process that can be told from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Start time in clock ticks since the machine's boot (`/proc/PID/stat`, field 22).
    pub(crate) start: u64,
    /// The machine's boot (`/proc/sys/kernel/random/boot_id`).
    pub(crate) boot: String,
}

impl Identity {
    /// The process with this id, as it is now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let start = start_time(pid)?;
        Some(Self { pid, start, boot: machine_boot() })
    }

    /// True while this very process runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == machine_boot() && start_time(self.pid) == Some(self.start)
    }

    /// Sends a signal to the process and its group, unless the process is gone.
    fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It leads a group of its own; if that is not so any more, the process alone is meant. Gone meanwhile = done.
            if killpg(Pid::from_raw(self.pid), signal).is_err() {
                let _ = kill(Pid::from_raw(self.pid), signal);
            }
        }
    }
}

/// Start time of a process that runs; `None` when it does not, or is a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, is in parentheses and may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // `state` is field 3; field 22 is 19 further.
    fields.nth(18)?.parse().ok()
}

fn machine_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// A running process of a version.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    /// `None` when an earlier splitter started it.
    child: Option<tokio::process::Child>,
}

impl Process {
    /// Starts a version's process on a port.
    pub(crate) fn start(spec: &VersionSpec, port: u16, log: &Path) -> io::Result<Self> {
        let Source::Process { command, env, directory, .. } = &spec.source else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a process"));
        };
        let port = port.to_string();
        let mut words = command.iter().map(|word| word.replace("{port}", &port));
        let program = words.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let output = open_log(log)?;
        let mut process = tokio::process::Command::new(program);
        process
            .args(words)
            .envs(env.iter().map(|(key, value)| (key, value.replace("{port}", &port))))
            .env("PORT", &port)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: a signal at the terminal is not meant for it, and its children can be ended with it.
            .process_group(0)
            .kill_on_drop(false);
        if let Some(directory) = directory {
            process.current_dir(directory);
        }
        let child = process.spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        // A child that was not waited for keeps its id, even if it has ended already; then its end is seen at once.
        let identity =
            pid.map(|pid| Identity::of(pid).unwrap_or_else(|| Identity { pid, start: 0, boot: machine_boot() }));
        let identity = identity.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self { identity, child: Some(child) })
    }

    /// A process that an earlier splitter started, if it still runs.
    pub(crate) fn adopt(identity: &Identity) -> Option<Self> {
        identity.is_alive().then(|| Self { identity: identity.clone(), child: None })
    }

    /// Waits for its end and says how it ended, to go on "it ended". Cancel-safe.
    pub(crate) async fn wait(&mut self) -> String {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => how(status),
                Err(error) => format!("in a way that could not be observed: {error}"),
            },
            None => {
                while self.identity.is_alive() {
                    tokio::time::sleep(LOOK).await;
                }
                "in a way that was not seen: an earlier splitter had started it".to_owned()
            }
        }
    }

    /// Ends it: `SIGTERM`, then `SIGKILL` after the grace time. True when it had to be killed.
    pub(crate) async fn end(mut self, grace: Duration) -> bool {
        self.identity.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.wait()).await.is_ok() {
            return false;
        }
        self.identity.signal(Signal::SIGKILL);
        // A process in uninterruptible sleep ends when the kernel lets it; nothing more can be done here.
        let _ = tokio::time::timeout(Duration::from_secs(10), self.wait()).await;
        true
    }
}

/// `with exit status 124`, `by signal 9 (SIGKILL)`.
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("by signal {number} ({signal})"),
            Err(_) => format!("by signal {number}"),
        },
        (None, None) => format!("with {status}"),
    }
}

/// The log of a version's process: appended to, so that it can be emptied while the process writes.
fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Empties a log that has grown too large.
pub(crate) fn limit_log(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG)
        && let Err(error) = OpenOptions::new().write(true).open(path).and_then(|log| log.set_len(0))
    {
        tracing::warn!(path = %path.display(), %error, "a log that is too large cannot be emptied");
    }
}

/// Where a version's process writes.
pub(crate) fn log_path(state_dir: &Path, service: &str, version: &str) -> PathBuf {
    // Ids may hold anything but control characters; file names may not.
    let safe = |text: &str| -> String {
        text.chars()
            .take(60)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
            .collect()
    };
    state_dir.join("logs").join(format!("{}@{}.log", safe(service), safe(version)))
}

/// A port that is free now. Another process may take it before ours does: then ours ends, and is started on another.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
