//! `demo-service`: the service as a program of its own, small enough to be in every version's image.

use std::{
    fmt::Display,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use demo::{
    arguments::{Asked, HELP, read},
    service::{Behaviour, ServiceError, serve},
};
use tokio::signal::unix::{SignalKind, signal};

/// The exit codes of `deliveryos`.
const WRONG_USE: u8 = 2;
const UNKNOWN: u8 = 3;

fn main() -> ExitCode {
    // Each process its own latencies; which ones matters to nobody.
    match read(std::env::args_os().skip(1), u64::from(std::process::id())) {
        Ok(Asked::Help) => {
            // A reader that goes away has read enough.
            let _ = io::stdout().write_all(HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Asked::Service { port, behaviour }) => run(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), behaviour),
        Err(wrong) => end(&wrong, WRONG_USE),
    }
}

fn run(address: SocketAddr, behaviour: Behaviour) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&format_args!("the runtime could not be started: {error}"), UNKNOWN),
    };
    runtime.block_on(async {
        let heard = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut int) = match heard {
            Ok(heard) => heard,
            Err(error) => return end(&format_args!("signals cannot be heard: {error}"), UNKNOWN),
        };
        let stop = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        match serve(address, behaviour, stop).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(ServiceError::Listen(address, error)) => {
                end(&format_args!("cannot listen on {address}: {error}; choose another with --port"), WRONG_USE)
            }
            Err(error @ ServiceError::Behaviour(_)) => end(&error, WRONG_USE),
        }
    })
}

/// Says on stderr why it ends.
fn end(why: &dyn Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {why}");
    ExitCode::from(code)
}
