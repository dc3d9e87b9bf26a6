//! `deliveryos splitter`: the data plane, a process of its own.

use std::{path::PathBuf, process::ExitCode};

use super::{print, small_runtime};
use crate::{
    args, compose,
    exit::{Refusal, WrongUse},
};

pub(super) fn run(state_dir: PathBuf, options: &args::Splitter) -> anyhow::Result<ExitCode> {
    if options.stop {
        return small_runtime()?.block_on(stop(state_dir));
    }
    let run = if options.take_over { splitter::run_as_successor } else { splitter::run };
    run(splitter::Options {
        state_dir,
        workers: options.workers,
        metrics_listen: options.metrics_listen,
        detach: options.detach,
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn stop(state_dir: PathBuf) -> anyhow::Result<ExitCode> {
    match compose::end_splitter(&state_dir).await? {
        Some(pid) => print::line(&format!("splitter {pid} ends, with its versions"))?,
        None if !state_dir.is_dir() => {
            let why = "there is no such directory";
            return Err(WrongUse(format!("no splitter runs in {}: {why}", state_dir.display())).into());
        }
        None => return Err(Refusal(format!("no splitter runs in {}", state_dir.display())).into()),
    }
    Ok(ExitCode::SUCCESS)
}
