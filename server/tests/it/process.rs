//! The real executable as a child process.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for anything: a debug build on busy cores.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn deliveryos(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deliveryos"));
    command.env("DELIVERYOS_DATA_DIR", data_dir).env_remove("DELIVERYOS_TOKEN").env_remove("DELIVERYOS_SERVER");
    command.env_remove("RUST_BACKTRACE").env("RUST_LOG", "warn");
    command
}

/// Runs it to its end.
pub(crate) fn run(data_dir: &Path, args: &[&str]) -> (i32, String, String) {
    answer(deliveryos(data_dir).args(args).stdin(Stdio::null()).output().unwrap())
}

fn answer(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Addresses that are free now.
pub(crate) fn free<const N: usize>() -> [SocketAddr; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.each_ref().map(|listener| listener.local_addr().unwrap())
}

/// Waits for a condition; panics when it does not come.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A child that is killed when the test ends, however it ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// SIGKILL, and nothing before it.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
