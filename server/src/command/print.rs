//! What is printed: answers on stdout, progress on stderr and only for people.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde::Serialize;

/// Prints one JSON document on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value).context("the answer has no JSON form")?)
}

/// Prints a line. A reader that has gone away (`| head`) ends the program quietly. What others wrote may be in it: nothing of it moves the cursor.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = text.replace(|c: char| model::is_hidden(c) && !matches!(c, '\n' | '\t'), "\u{fffd}");
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("the answer could not be printed"),
    }
}

/// A line on stderr, for people only.
pub(crate) fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        // Nothing to do when even that fails.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// A warning on stderr, for people and for the logs of scripts.
pub(crate) fn warning(text: &str) {
    // Nothing to do when even that fails.
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// A bar on stderr when it is a terminal, else nothing.
pub(crate) fn bar(length: u64, what: &'static str) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(length).with_message(what);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// The same for bytes.
pub(crate) fn bytes_bar(what: &'static str) -> indicatif::ProgressBar {
    let bar = bar(0, what);
    let template = "{msg:12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A table: columns as wide as their widest cell, the last one free.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    print(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>())?;
    rows.iter().try_for_each(|row| print(row))
}
