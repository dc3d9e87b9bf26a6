//! A splitter and nothing else, for tests and measurements: `splitter STATE_DIR [--workers N] [--metrics ADDRESS] [--take-over]`.

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let state_dir = arguments.next().context("which state directory?")?.into();
    let mut options = splitter::Options { state_dir, workers: 0, metrics_listen: None, detach: false };
    let mut take_over = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--workers" => options.workers = arguments.next().context("how many?")?.parse()?,
            "--metrics" => options.metrics_listen = Some(arguments.next().context("which address?")?.parse()?),
            "--take-over" => take_over = true,
            other => bail!("{other} is not known"),
        }
    }
    if take_over {
        splitter::run_as_successor(options)?
    } else {
        splitter::run(options)?
    }
    Ok(())
}
