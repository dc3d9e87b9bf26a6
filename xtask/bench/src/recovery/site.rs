//! The product as a user runs it: `deliveryos serve` with its splitter, a service of two versions, a token, the API.

use super::backend::HEALTH;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use splitter::control::{Client, Request, Response, SOCKET_NAME, ServiceStatus};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) const SERVICE: &str = "checkout";
/// Longest wait for anything: start-up on busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Identity of the canary, which no program's file gives here.
const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A server that runs. Dropping it ends the server, its splitter and the stable version.
pub(crate) struct Site {
    program: PathBuf,
    directory: tempfile::TempDir,
    server: Option<Process>,
    pub(crate) pages: SocketAddr,
    pub(crate) traffic: SocketAddr,
    pub(crate) token: String,
    http: reqwest::Client,
}

impl Site {
    pub(crate) async fn start(
        program: &Path,
        on: &Path,
        canary: SocketAddr,
        source: Option<SocketAddr>,
    ) -> Result<Self> {
        let [pages, traffic] = free()?;
        Self::serve(program, on, pages, traffic, |program| configuration(program, pages, traffic, canary, source)).await
    }

    /// A server with another configuration; one of its services listens on `traffic`.
    pub(crate) async fn serve(
        program: &Path,
        on: &Path,
        pages: SocketAddr,
        traffic: SocketAddr,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let program = std::path::absolute(program)?;
        let directory = tempfile::tempdir_in(std::path::absolute(on)?).with_context(|| format!("{}", on.display()))?;
        let config = directory.path().join("deliveryos.toml");
        std::fs::write(&config, configuration(&program))?;
        let words = ["env".to_owned(), data(directory.path()), "RUST_LOG=warn".to_owned(), text(&program)];
        let command: Vec<String> =
            words.into_iter().chain(["serve".to_owned(), "--config".to_owned(), text(&config)]).collect();
        let server = Process::start(None, &command, &directory.path().join("server.log"))?;
        let mut site =
            Self { program, directory, server: Some(server), pages, traffic, token: String::new(), http: client()? };
        site.ready().await.with_context(|| site.said())?;
        Ok(site)
    }

    async fn ready(&mut self) -> Result<()> {
        let since = Instant::now();
        let socket = self.directory.path().join("admin.sock");
        while !socket.exists() {
            self.still(since, "the server's local socket").await?;
        }
        let made = self.run(&["token", "create", "--role", "operator", "--name", "bench"])?;
        made.trim().clone_into(&mut self.token);
        while self.ask(Method::GET, "/api/v1/releases", None).await.is_err() {
            self.still(since, "the API").await?;
        }
        while tokio::net::TcpStream::connect(self.traffic).await.is_err() {
            self.still(since, "the service's address").await?;
        }
        Ok(())
    }

    async fn still(&mut self, since: Instant, what: &str) -> Result<()> {
        if since.elapsed() > LIMIT {
            bail!("{what} is not there after {} s", LIMIT.as_secs());
        }
        if !self.server.as_mut().is_some_and(Process::runs) {
            bail!("the server ended while {what} was awaited");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }

    /// The end of what the server said.
    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("login")).collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        command.args(args).env("DELIVERYOS_DATA_DIR", self.directory.path()).stdin(std::process::Stdio::null());
        let output = command.output()?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("deliveryos {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(out)
    }

    /// A request to the API with the token; its status and document.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let mut request =
            self.http.request(method, format!("http://{}{path}", self.pages)).bearer_auth(&self.token).timeout(LIMIT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.json().await?))
    }

    /// Starts a release as soon as the one before is over; its id.
    pub(crate) async fn release(&self, id: &str, recipe: &str, speed: f64) -> Result<String> {
        self.release_of(SERVICE, "v2", id, recipe, speed).await
    }

    /// The same of any service and version.
    pub(crate) async fn release_of(
        &self,
        service: &str,
        version: &str,
        id: &str,
        recipe: &str,
        speed: f64,
    ) -> Result<String> {
        let body = json!({
            "id": id, "service": service, "version": version, "recipe": recipe, "speed": speed, "reason": "measured",
        });
        let since = Instant::now();
        loop {
            let (status, answer) = self.ask(Method::POST, "/api/v1/releases", Some(&body)).await?;
            if let (StatusCode::CREATED, Some(release)) = (status, answer["release"].as_str()) {
                return Ok(release.to_owned());
            }
            // The one before drains, or the data plane is not up yet.
            let later = matches!(status, StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE);
            if !later || since.elapsed() > LIMIT {
                bail!("the release cannot be started: {status} {answer}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The receipts of a release that has ended.
    pub(crate) async fn receipts(&self, release: &str) -> Result<Vec<Value>> {
        let since = Instant::now();
        loop {
            let (_, view) = self.ask(Method::GET, &format!("/api/v1/releases/{release}"), None).await?;
            if !view["completed"].is_null() {
                return Ok(view["receipts"].as_array().cloned().unwrap_or_default());
            }
            if since.elapsed() > LIMIT {
                bail!("{release} does not end: {}", view["row"]);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The splitter's control socket.
    pub(crate) async fn splitter(&self) -> Result<Client> {
        Ok(Client::connect(&self.directory.path().join("splitter").join(SOCKET_NAME)).await?)
    }

    /// Ends the server and has its whole log verified offline.
    pub(crate) fn verify(&mut self) -> Result<bool> {
        self.server = None;
        let said = self.run(&["log", "verify", "--json"])?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(said["holds"] == json!(true))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server = None;
        if let Err(error) = self.run(&["splitter", "--stop"]) {
            eprintln!("the splitter was not ended: {error:#}");
        }
    }
}

/// What the splitter says of the service.
pub(crate) async fn status(splitter: &mut Client) -> Result<ServiceStatus> {
    status_of(splitter, SERVICE).await
}

/// The same of any service.
pub(crate) async fn status_of(splitter: &mut Client, service: &str) -> Result<ServiceStatus> {
    let Response::Status(status) = splitter.call(Request::Status { service: Some(service.to_owned()) }).await? else {
        bail!("the splitter answered something else");
    };
    status.services.into_iter().next().context("the splitter does not know the service")
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).tcp_nodelay(true).build()?)
}

fn configuration(
    program: &Path,
    pages: SocketAddr,
    traffic: SocketAddr,
    canary: SocketAddr,
    source: Option<SocketAddr>,
) -> String {
    let source = source.map_or_else(String::new, |at| {
        format!("[metrics.prometheus]\nurl = \"http://{at}\"\n[metrics.report]\nurl = \"http://{at}\"\n")
    });
    format!(
        "listen = \"{pages}\"\n\
         [services.{SERVICE}]\nlisten = [\"{traffic}\"]\nstable = \"v1\"\n\
         [services.{SERVICE}.versions.v1]\nhealth_path = \"{HEALTH}\"\n\
         command = [{:?}, \"demo-service\", \"--port\", \"{{port}}\", \"--version\", \"v1\", \"--latency-ms\", \"1\", \"--sigma\", \"0.2\"]\n\
         [services.{SERVICE}.versions.v2]\nhealth_path = \"{HEALTH}\"\nurl = \"http://{canary}\"\ndigest = \"{DIGEST}\"\n{source}",
        text(program)
    )
}

/// Addresses that are free now.
pub(crate) fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("no addresses"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn data(directory: &Path) -> String {
    format!("DELIVERYOS_DATA_DIR={}", directory.display())
}
