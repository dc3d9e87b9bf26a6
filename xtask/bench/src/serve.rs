//! The product's server over a data directory that is there already, for measurements of its pages.

use crate::process::Process;
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A server that runs. Dropping it ends the server and its splitter.
pub(crate) struct Serving {
    program: PathBuf,
    data: PathBuf,
    server: Option<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// From the start of the process to its first answer.
    pub(crate) started_in: Duration,
}

impl Serving {
    /// Starts it, waits for its first answer, and makes a token of this role.
    pub(crate) async fn start(program: &Path, data: &Path, role: &str) -> Result<Self> {
        let (program, data) = (std::path::absolute(program)?, std::path::absolute(data)?);
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let words = ["env", "RUST_LOG=warn"].map(str::to_owned);
        let args = ["serve", "--data-dir", &text(&data), "--listen", &address.to_string()].map(str::to_owned);
        let command: Vec<String> = words.into_iter().chain([text(&program)]).chain(args).collect();
        let begun = Instant::now();
        let log = tempfile::NamedTempFile::new()?;
        let mut server = Process::start(None, &command, log.path())?;
        let http = client()?;
        loop {
            let asked = http.get(format!("http://{address}/healthz")).timeout(Duration::from_secs(1)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            if begun.elapsed() > LIMIT || !server.runs() {
                let said = std::fs::read_to_string(log.path()).unwrap_or_default();
                bail!(
                    "the server does not answer:\n{}",
                    said.lines().filter(|l| !l.contains("login")).collect::<Vec<_>>().join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let started_in = begun.elapsed();
        let mut serving = Self { program, data, server: Some(server), address, token: String::new(), started_in };
        let made = serving.run(&["token", "create", "--role", role, "--name", "bench"])?;
        made.trim().clone_into(&mut serving.token);
        Ok(serving)
    }

    /// Another subcommand on the same data directory.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        command.args(args).env("DELIVERYOS_DATA_DIR", &self.data).stdin(std::process::Stdio::null());
        let output = command.output()?;
        if !output.status.success() {
            bail!("deliveryos {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Resident memory now and at its highest, bytes.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let id = self.server.as_ref().context("the server was ended")?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
            let number = line.split_whitespace().nth(1).with_context(|| format!("no number in {line}"))?;
            Ok(number.parse::<u64>()? * 1024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Ends the server, and the splitter.
    pub(crate) fn stop(&mut self) {
        self.server = None;
        if let Err(error) = self.run(&["splitter", "--stop"]) {
            eprintln!("the splitter was not ended: {error:#}");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
    }
}

/// A client that keeps its connections.
pub(crate) fn client() -> Result<reqwest::Client> {
    // Sooner than the server closes an idle connection: a request sent into that would be lost.
    const IDLE: std::time::Duration = std::time::Duration::from_secs(2);
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Ok(client.tcp_nodelay(true).pool_idle_timeout(IDLE).build()?)
}
