//! `deliveryos completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::Args;

pub(super) fn run(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    clap_complete::generate(shell, &mut Args::command(), "deliveryos", &mut std::io::stdout().lock());
    Ok(ExitCode::SUCCESS)
}
