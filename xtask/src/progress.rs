//! How far a build is, for who waits for it: which stage of how many, how many crates of how many, how long.
//!
//! Cargo tells it in a bar that it draws on terminals only, among hundreds of lines of crates. Here its bar is read and shown as one line:
//! redrawn on a terminal, written anew now and then into a file. What the compiler has to say passes through as it is.

use crate::run;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A file gets a line so often.
const WRITTEN_EVERY: Duration = Duration::from_secs(15);
/// Columns of the bar.
const BAR: usize = 24;
/// Cargo cuts the names of its bar at so many columns; the figures come before them.
const CARGO_WIDTH: &str = "80";
/// Longest line that is read as Cargo's bar.
const LINE_MAX: usize = 64 * 1024;
/// Lines of Cargo about single crates: the bar has their count.
const ABOUT_CRATES: [&str; 9] =
    ["Adding", "Blocking", "Compiling", "Downloaded", "Downloading", "Finished", "Fresh", "Locking", "Updating"];

/// The stages of a build, counted.
pub(crate) struct Stages {
    all: usize,
    begun: usize,
}

impl Stages {
    pub(crate) fn of(all: usize) -> Self {
        Self { all, begun: 0 }
    }

    /// Heads the next stage, does it, says how long it took.
    ///
    /// # Errors
    /// Those of the work, after the stage's name.
    pub(crate) fn next<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.begun += 1;
        run::step(&format!("{} of {}: {what}", self.begun, self.all.max(self.begun)), work)
    }
}

/// Runs `cargo build` to the end, with one line that says how far it is.
///
/// # Errors
/// When it cannot be started or does not end with 0; what the compiler said has been shown.
pub(crate) fn cargo(command: &mut Command) -> Result<()> {
    let line = run::line(command);
    let terminal = std::io::stderr().is_terminal();
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", CARGO_WIDTH);
    if terminal {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let mut shown = Shown { terminal, start: Instant::now(), written: Instant::now(), drawn: false };
    if let Some(out) = child.stderr.take() {
        each_line(BufReader::new(out), |text| shown.take(text))?;
    }
    shown.clear();
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// What Cargo said in one line.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// So many of so many crates are there.
    Crates(u64, u64),
    /// Something else about crates that takes its time.
    Busy(&'a str),
    /// Nothing that anybody has to read.
    Nothing,
    /// The compiler's words.
    Words,
}

fn said(plain: &str) -> Said<'_> {
    let text = plain.trim();
    let first = text.split_whitespace().next().unwrap_or_default();
    if first == "Building" && plain.starts_with(' ') {
        // `Building [====>      ] 12/300: name, name`
        let counts = text.split_once("] ").and_then(|(_, rest)| rest.split([':', ' ']).next()?.split_once('/'));
        return counts
            .and_then(|(done, all)| Some(Said::Crates(done.trim().parse().ok()?, all.trim().parse().ok()?)))
            .unwrap_or(Said::Nothing);
    }
    match first {
        // Cargo's statuses are set to the right of twelve columns; a compiler's line that begins so stands at the left.
        "" => Said::Words,
        known if plain.starts_with(' ') && ABOUT_CRATES.contains(&known) => match known {
            "Blocking" | "Updating" | "Downloading" => Said::Busy(text),
            _ => Said::Nothing,
        },
        _ => Said::Words,
    }
}

struct Shown {
    terminal: bool,
    start: Instant,
    written: Instant,
    /// Whether a line stands on the terminal that is to be redrawn.
    drawn: bool,
}

impl Shown {
    fn take(&mut self, raw: &str) {
        let plain = without_colours(raw);
        match said(&plain) {
            Said::Crates(done, all) => self.progress(&bar(done, all, self.start.elapsed())),
            Said::Busy(what) => self.progress(what),
            Said::Nothing => {}
            // Cargo clears its bar with an empty line.
            Said::Words if plain.trim().is_empty() && self.drawn => {}
            Said::Words => {
                self.clear();
                eprintln!("{raw}");
            }
        }
    }

    fn progress(&mut self, text: &str) {
        if self.terminal {
            let text: String = text.chars().take(78).collect();
            eprint!("\r\x1b[K    {text}");
            // The line is for the eye: when the terminal is gone, so is its reader.
            let _ = std::io::stderr().flush();
            self.drawn = true;
        } else if self.written.elapsed() >= WRITTEN_EVERY {
            self.written = Instant::now();
            eprintln!("    {text}");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(done: u64, all: u64, time: Duration) -> String {
    let part = usize::try_from(done * BAR as u64 / all.max(1)).unwrap_or(BAR).min(BAR);
    format!("{}{} {done} of {all} crates, {}", "█".repeat(part), "░".repeat(BAR - part), run::seconds(time))
}

/// Cargo ends the lines of its bar with a return alone.
fn each_line(mut from: impl BufRead, mut take: impl FnMut(&str)) -> Result<()> {
    let mut line = Vec::new();
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            if !line.is_empty() {
                take(&String::from_utf8_lossy(&line));
            }
            return Ok(());
        }
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        from.consume(used);
        if end.is_some() || line.len() > LINE_MAX {
            take(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
}

/// Without what sets colours and clears lines: `ESC [ … letter`.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            if chars.next() == Some('[') {
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
        } else {
            plain.push(char);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_read_and_the_compiler_heard() {
        let plain = |text: &str| without_colours(text);
        let line = plain("\u{1b}[1m\u{1b}[36m    Building\u{1b}[0m [=======>       ] 142/310: tokio, axum(build)");
        assert_eq!(said(&line), Said::Crates(142, 310));
        assert_eq!(said("    Building [>      ] 0/7"), Said::Crates(0, 7));
        assert_eq!(said("    Building something"), Said::Nothing);
        assert_eq!(said("   Compiling serde v1.0.228"), Said::Nothing);
        assert_eq!(said("    Finished `dev` profile [unoptimized] target(s) in 9s"), Said::Nothing);
        let waits = "    Blocking waiting for file lock on build directory";
        assert_eq!(said(waits), Said::Busy(waits.trim()));
        for words in [
            "warning: unused variable: `x`",
            "  --> src/lib.rs:1:5",
            "Finished work is dropped here",
            "Building C code failed",
            "",
        ] {
            assert_eq!(said(words), Said::Words, "{words}");
        }
    }

    #[test]
    fn lines_end_with_either_sign() {
        let mut got = Vec::new();
        each_line(&b"a 1/2\ra 2/2\rerror: b\n\nlast"[..], |line| got.push(line.to_owned())).unwrap();
        assert_eq!(got, ["a 1/2", "a 2/2", "error: b", "", "last"]);
    }

    #[test]
    fn the_bar_is_as_long_however_far_it_is() {
        for (done, all) in [(0, 0), (0, 9), (4, 9), (9, 9), (12, 9)] {
            let bar = bar(done, all, Duration::from_secs(1));
            assert_eq!(bar.chars().filter(|char| "█░".contains(*char)).count(), BAR, "{bar}");
        }
    }
}
