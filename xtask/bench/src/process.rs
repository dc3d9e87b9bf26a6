//! Child processes on chosen cores, and the processor time they took.

use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Clock ticks per second in `/proc/PID/stat`: fixed at 100 for programs on every Linux architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child that is ended with us.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program on these cores (`taskset`'s list), its output in a file.
    pub(crate) fn start(cores: Option<&str>, command: &[String], log: &std::path::Path) -> Result<Self> {
        let mut words = Vec::new();
        if let Some(cores) = cores {
            words.extend(["taskset".to_owned(), "-c".to_owned(), cores.to_owned()]);
        }
        words.extend_from_slice(command);
        let (program, arguments) = words.split_first().context("no program")?;
        let log = std::fs::File::create(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", words.join(" ")))?;
        Ok(Self(child))
    }

    /// Its process id; of a program started through `env`, that of the program.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Processor time, user and system, of it and all its children so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let mut ticks = 0.0;
        let mut family = vec![self.0.id()];
        let all: Vec<(u32, u32, f64)> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| stat(entry.file_name().to_str()?))
            .collect();
        while let Some(pid) = family.pop() {
            ticks += all.iter().filter(|process| process.0 == pid).map(|process| process.2).sum::<f64>();
            family.extend(all.iter().filter(|process| process.1 == pid).map(|process| process.0));
        }
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM first, so that a program with children takes them along.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        for _ in 0..40 {
            if !self.runs() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Process id, parent's id, ticks of a process; `None` for what is no process.
fn stat(pid: &str) -> Option<(u32, u32, f64)> {
    let id = pid.parse().ok()?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((id, fields.get(1)?.parse().ok()?, ticks))
}
