//! `cargo xtask check`: what must hold before a test is worth running.

mod directions;
mod purity;
mod tidy;

pub(crate) use purity::BROWSER;

use crate::progress::Stages;
use crate::workspace::Workspace;
use crate::{run, site};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::time::Instant;

#[derive(clap::Args, Default)]
pub(crate) struct CheckArgs {
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// All but these.
    #[arg(long, value_delimiter = ',')]
    pub(crate) skip: Vec<Part>,
    /// Also build the site for release and hold its size against the limit (some minutes).
    #[arg(long)]
    pub(crate) size: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// `cargo fmt --check`.
    Fmt,
    /// Files too long, unfinished code, settings that disagree, dependencies without a reason.
    Tidy,
    /// A crate depends only on crates above it, never sideways between adapters.
    Directions,
    /// `cargo clippy`, warnings are errors.
    Clippy,
    /// Pure crates and browser crates: no runtime, clock or randomness among their dependencies; they compile for wasm32 without a warning.
    Wasm,
    /// The site's first load in a release is within its limit.
    Size,
}

/// What became of one part.
pub(crate) struct Outcome {
    pub(crate) part: &'static str,
    pub(crate) failure: Option<String>,
}

/// Runs the checks, all of them even when one fails.
///
/// # Errors
/// When one failed.
pub(crate) fn run(workspace: &Workspace, args: &CheckArgs) -> Result<()> {
    let outcomes = outcomes(workspace, args);
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", outcomes.len());
    }
    eprintln!("{} checks passed", outcomes.len());
    Ok(())
}

/// Runs the checks and says what became of each.
pub(crate) fn outcomes(workspace: &Workspace, args: &CheckArgs) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for part in Part::value_variants() {
        let wanted = args.only.is_empty() || args.only.contains(part);
        let wanted = wanted && (*part != Part::Size || args.size || args.only.contains(part));
        if !wanted || args.skip.contains(part) {
            continue;
        }
        eprintln!("==> check: {}", part.name());
        let start = Instant::now();
        let failure = part.run(workspace).err().map(|error| format!("{error:#}"));
        match &failure {
            None => eprintln!("    {}: ok ({})", part.name(), run::seconds(start.elapsed())),
            Some(failure) => eprintln!("    {}: FAILED\n{failure}", part.name()),
        }
        outcomes.push(Outcome { part: part.name(), failure });
    }
    outcomes
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Directions => "directions",
            Self::Clippy => "clippy",
            Self::Wasm => "wasm",
            Self::Size => "size",
        }
    }

    fn run(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Fmt => run::run(run::cargo().current_dir(&workspace.root).args(["fmt", "--all", "--check"])),
            Self::Tidy => tidy::check(workspace),
            Self::Directions => directions::check(workspace),
            Self::Clippy => clippy(workspace),
            Self::Wasm => purity::check(workspace),
            Self::Size => size(workspace),
        }
    }
}

/// The native set, `ssr`. The browser set is compiled by [`purity`], where warnings are errors too. First what ships, by all lints; then
/// tests and examples, whose helpers may unwrap and print: a test that panics has said what it had to say.
fn clippy(workspace: &Workspace) -> Result<()> {
    let lint = |targets: &[&str], flags: &[&str]| {
        let mut cargo = run::cargo();
        cargo.current_dir(&workspace.root).args(["clippy", "--workspace", "--keep-going"]).args(targets);
        for name in BROWSER {
            cargo.args(["--exclude", name]);
        }
        run::run(cargo.args(["--", "-D", "warnings"]).args(flags))
    };
    let shipped = lint(&["--lib", "--bins"], &[]);
    let allowed =
        ["unwrap_used", "expect_used", "print_stdout", "print_stderr"].map(|lint| format!("-Aclippy::{lint}"));
    let tests = lint(&["--tests", "--examples"], &allowed.each_ref().map(String::as_str));
    shipped.and(tests)
}

fn size(workspace: &Workspace) -> Result<()> {
    let report = site::build(workspace, true, &mut Stages::of(site::STAGES))?;
    report.print_sizes();
    report.check_sizes()
}
