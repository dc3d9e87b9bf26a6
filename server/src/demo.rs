//! The demo: a real service, real traffic, release after release.

use std::{path::PathBuf, process::ExitCode};

use crate::args;

/// The recipe of the source documents: 5 % for 2 min, 25 % for 3 min, 50 % for 3 min, 100 % and bake to 12 min.
pub const DEFAULT_RECIPE: &str = "";

/// `deliveryos demo`.
pub async fn run(data_dir: PathBuf, options: args::Demo) -> anyhow::Result<ExitCode> {
    let _ = (data_dir, options);
    anyhow::bail!("not yet")
}
