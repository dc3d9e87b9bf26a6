//! The program `demo-service`, as it is built.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_demo-service");
/// Longest wait for its socket: a debug build on busy cores.
const LIMIT: Duration = Duration::from_secs(60);

/// A child that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn ask(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn it_serves_as_it_is_told_until_it_is_told_to_end() {
    let address = free();
    let port = address.port().to_string();
    let line = ["--version", "v7", "--latency-ms", "0", "--sigma", "0.05", "--error-rate", "1", "--port", &port];
    let mut running = Running(Command::new(PROGRAM).args(line).env_clear().spawn().unwrap());
    let start = Instant::now();
    let ready = loop {
        if let Some(answer) = ask(address, "/healthz") {
            break answer;
        }
        assert!(start.elapsed() < LIMIT, "it listens within {LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok\n"), "{ready}");
    let failed = ask(address, "/pay").unwrap();
    assert!(failed.starts_with("HTTP/1.1 503") && failed.contains("x-version: v7"), "{failed}");
    assert!(failed.ends_with("v7 failed on purpose, request 1\n"), "{failed}");
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

/// Each of the demo's folders of images holds it: without its symbols, in a debug build as well.
#[test]
fn it_is_small() {
    let bytes = std::fs::metadata(PROGRAM).unwrap().len();
    assert!(bytes < 8 * 1024 * 1024, "{bytes} bytes");
}

#[test]
fn what_it_cannot_do_it_says() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    for (line, code, words) in [
        (&["--help"][..], 0, "Usage: demo-service"),
        (&[], 2, "error: --port is missing"),
        (&["--port", "1", "--colour"], 2, "error: there is no option \"--colour\""),
        (&["--port", "1", "--error-rate", "2"], 2, "error: the error rate is 0 to 1"),
        (&["--port", "1", "--sigma", "NaN"], 2, "error: sigma is 0 to 3"),
        (&["--port", &taken], 2, "choose another with --port"),
    ] {
        let output = Command::new(PROGRAM).args(line).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(code) && said.contains(words), "{line:?}: {} {said}", output.status);
    }
}
