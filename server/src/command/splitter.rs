//! `deliveryos splitter`: the data plane, a process of its own.

use std::{path::PathBuf, process::ExitCode};

use crate::args;

pub(super) fn run(state_dir: PathBuf, options: &args::Splitter) -> anyhow::Result<ExitCode> {
    splitter::run(splitter::Options {
        state_dir,
        workers: options.workers,
        metrics_listen: options.metrics_listen,
        detach: options.detach,
    })?;
    Ok(ExitCode::SUCCESS)
}
