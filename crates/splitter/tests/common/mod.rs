//! A splitter in a process of its own, services behind it, clients in front.
// Each test file uses its part; helpers of tests panic like tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use splitter::control::{
    Client, ClientError, Refusal, Request as Ask, Response as Answer, ServiceStatus, Status, Tick, VersionTick,
    WeightSet,
};
use splitter::{Health, Limits, Protocol, ServiceSpec, Source, VersionSpec};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Nothing here takes longer than this unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition gives a value.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < limit, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the test's own executable is when it is started as a process.
const ROLE: &str = "SPLITTER_TEST_ROLE";
const ARGUMENTS: &str = "SPLITTER_TEST_ARGUMENTS";

/// Not a test: the processes that tests start are this executable again, so that they are never of another build.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "splitter" => run_splitter(),
        "backend" => run_backend(),
        other => panic!("{other} is no role"),
    }
    std::process::exit(0);
}

fn run_splitter() {
    let arguments = std::env::var(ARGUMENTS).unwrap();
    let mut arguments = arguments.split('\n');
    let state_dir = arguments.next().unwrap().into();
    let mut options = splitter::Options { state_dir, workers: 2, metrics_listen: None, detach: false };
    let mut run: fn(splitter::Options) -> Result<(), splitter::RunError> = splitter::run;
    while let Some(argument) = arguments.next() {
        match argument {
            "--metrics" => options.metrics_listen = Some(arguments.next().unwrap().parse().unwrap()),
            "--take-over" => run = splitter::run_as_successor,
            other => panic!("{other} is no argument"),
        }
    }
    if let Err(error) = run(options) {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            eprintln!("{error}");
            cause = error.source();
        }
        std::process::exit(1);
    }
}

/// Answers `/` with its name, `/pid` with its process id, `/exit` by ending.
fn run_backend() {
    let name = std::env::var(ARGUMENTS).unwrap();
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let name = name.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let body = match request.uri().path() {
                        "/pid" => std::process::id().to_string(),
                        "/exit" => std::process::exit(3),
                        _ => name.clone(),
                    };
                    async move { Ok::<_, Infallible>(Response::new(full(body))) }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// This executable as a process.
fn myself() -> Vec<String> {
    let executable = std::env::current_exe().unwrap().display().to_string();
    [executable.as_str(), "--exact", "common::process", "--nocapture"].map(str::to_owned).to_vec()
}

pub fn splitter_command(dir: &Path, arguments: &[&str]) -> Command {
    let command = myself();
    let mut process = Command::new(&command[0]);
    let arguments: Vec<&str> = std::iter::once(dir.to_str().unwrap()).chain(arguments.iter().copied()).collect();
    process.args(&command[1..]).env(ROLE, "splitter").env(ARGUMENTS, arguments.join("\n"));
    process.stdin(Stdio::null()).stdout(Stdio::null());
    process
}

pub struct Splitter {
    pub dir: Arc<TempDir>,
    pub child: Child,
    operations: AtomicU64,
}

impl Splitter {
    pub async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), &[]).await
    }

    pub async fn start_in(dir: Arc<TempDir>, arguments: &[&str]) -> Self {
        let child = splitter_command(dir.path(), arguments).spawn().unwrap();
        let splitter = Self { dir, child, operations: AtomicU64::new(0) };
        let pid = splitter.child.id();
        eventually("the splitter answers", async || {
            match Client::connect(&splitter.socket()).await.ok()?.call(Ask::Hello).await {
                Ok(Answer::Hello(hello)) if hello.pid == pid => Some(()),
                _ => None,
            }
        })
        .await;
        splitter
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(splitter::control::SOCKET_NAME)
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.socket()).await.unwrap()
    }

    pub async fn ask(&self, request: Ask) -> Result<Answer, Refusal> {
        match self.client().await.call(request).await {
            Ok(answer) => Ok(answer),
            Err(ClientError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }

    pub async fn apply(&self, spec: ServiceSpec) -> SocketAddr {
        let service = spec.service.clone();
        let versions: Vec<String> =
            [&spec.stable, &spec.canary].into_iter().flatten().map(|v| v.version.clone()).collect();
        self.ask(Ask::Apply { epoch: 1, spec }).await.unwrap();
        for version in versions {
            self.ready(&service, &version).await;
        }
        self.service(&service).await.listening[0]
    }

    pub async fn ready(&self, service: &str, version: &str) {
        eventually("the version is ready", async || {
            let status = self.service(service).await;
            [&status.stable, &status.canary]
                .into_iter()
                .flatten()
                .any(|v| v.version == version && v.was_ready)
                .then_some(())
        })
        .await;
    }

    pub async fn weight(&self, weight: u8) -> WeightSet {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        match self
            .ask(Ask::SetWeight { epoch: 1, operation_id: format!("test-{number}"), service: "shop".into(), weight })
            .await
            .unwrap()
        {
            Answer::Weight(set) => set,
            other => panic!("{other:?}"),
        }
    }

    pub async fn status(&self) -> Status {
        match self.ask(Ask::Status { service: None }).await.unwrap() {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub async fn service(&self, id: &str) -> ServiceStatus {
        self.status().await.services.into_iter().find(|service| service.service == id).unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sums of a version's ticks, from the first kept until the condition holds.
    pub async fn counted(&self, version: &str, enough: impl Fn(&VersionTick) -> bool) -> VersionTick {
        let boot = self.status().await.hello.boot;
        let mut ticks = self.client().await.subscribe(Some((boot, 0))).await.unwrap();
        let mut sum = VersionTick::default();
        let limit = Instant::now() + PATIENCE;
        loop {
            let notice = tokio::time::timeout_at(limit.into(), ticks.next())
                .await
                .unwrap_or_else(|_| panic!("never counted: {sum:?}"))
                .unwrap();
            let splitter::control::Notice::Tick(Tick { services, .. }) = notice else { panic!("{notice:?}") };
            for tick in services.into_iter().flat_map(|service| service.versions).filter(|tick| tick.version == version)
            {
                sum = add(sum, tick);
            }
            if enough(&sum) {
                return sum;
            }
        }
    }
}

fn add(mut sum: VersionTick, tick: VersionTick) -> VersionTick {
    sum.started += tick.started;
    sum.n += tick.n;
    sum.errors += tick.errors;
    sum.classes.iter_mut().zip(tick.classes).for_each(|(sum, one)| *sum += one);
    sum.upstream_failures += tick.upstream_failures;
    sum.timeouts += tick.timeouts;
    sum.client_aborts += tick.client_aborts;
    sum.cut += tick.cut;
    sum.bytes_in += tick.bytes_in;
    sum.bytes_out += tick.bytes_out;
    VersionTick { version: tick.version, in_flight: tick.in_flight, restarts: tick.restarts, ..sum }
}

impl Drop for Splitter {
    fn drop(&mut self) {
        // In order, so that the processes of versions end too.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        );
        let limit = Instant::now() + Duration::from_secs(15);
        while Instant::now() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn url_version(name: &str, address: SocketAddr) -> VersionSpec {
    VersionSpec {
        version: name.into(),
        release: format!("{name}-release"),
        digest: "sha256:00".into(),
        source: Source::Url(format!("http://{address}")),
        health: Health { interval_ms: 100, timeout_ms: 500, ..Health::default() },
        protocol: Protocol::Http1,
    }
}

pub fn process_version(name: &str) -> VersionSpec {
    let env = [(ROLE, "backend"), (ARGUMENTS, name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let source = Source::Process { command: myself(), env, directory: None, port: None, grace_ms: 2_000 };
    VersionSpec {
        source,
        health: Health { path: Some("/health".into()), interval_ms: 100, ..Health::default() },
        ..url_version(name, SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}

pub fn service(stable: VersionSpec, canary: Option<VersionSpec>) -> ServiceSpec {
    ServiceSpec {
        service: "shop".into(),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        limits: Limits::default(),
        sticky: None,
        trust_forwarded: false,
        dead_man_seconds: None,
        stable: Some(stable),
        canary,
    }
}

/// A service behind the splitter, in the test's own process.
pub struct Backend {
    pub address: SocketAddr,
    /// `/hold` answers once this is notified.
    pub release: Arc<Notify>,
    pub held: Arc<AtomicU64>,
    gone: tokio_util::sync::DropGuard,
}

impl Backend {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, held) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&release), Arc::clone(&held));
        let gone = tokio_util::sync::CancellationToken::new();
        let token = gone.clone();
        tokio::spawn(gone.clone().run_until_cancelled_owned(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = shared.clone();
                tokio::spawn(token.clone().run_until_cancelled_owned(async move {
                    let service = hyper::service::service_fn(move |request| answer(name, request, shared.clone()));
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                }));
            }
        }));
        Self { address, release, held, gone: gone.drop_guard() }
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

async fn answer(
    name: &'static str,
    mut request: Request<Incoming>,
    (release, held): (Arc<Notify>, Arc<AtomicU64>),
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/hold" => {
            held.fetch_add(1, Ordering::Relaxed);
            release.notified().await;
            Response::new(full(name))
        }
        "/never" => std::future::pending().await,
        "/headers" => {
            let lines: Vec<String> =
                request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            Response::new(full(format!(
                "{:?} {} {}\n{}",
                request.version(),
                request.method(),
                request.uri(),
                lines.join("\n")
            )))
        }
        "/echo" => match request.into_body().collect().await {
            Ok(body) => Response::new(full(body.to_bytes())),
            Err(_) => Response::new(full("")),
        },
        "/length" => {
            let mut length = 0;
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(full(length.to_string()))
        }
        "/big" => {
            let chunk = Bytes::from(vec![b'x'; 1 << 20]);
            let chunks = futures::stream::iter((0..64).map(move |_| Ok(Frame::data(chunk.clone()))));
            Response::new(BodyExt::boxed(StreamBody::new(chunks)))
        }
        "/events" => {
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"data: one\n\n")))]);
            let then = futures::stream::once(async move {
                release.notified().await;
                Ok(Frame::data(Bytes::from_static(b"data: two\n\n")))
            });
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(first.chain(then))));
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
            response
        }
        "/trailers" => {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", header::HeaderValue::from_static("0"));
            let frames =
                futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"message"))), Ok(Frame::trailers(trailers))]);
            Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
        "/socket" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut buffer = [0u8; 1024];
                while let Ok(read @ 1..) = io.read(&mut buffer).await {
                    if io.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
            response
        }
        path => match path.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
            Some(code) => {
                let mut response = Response::new(full(name));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                response
            }
            None => Response::new(full(name)),
        },
    })
}

/// A client's connection.
pub struct Http {
    sender: hyper::client::conn::http1::SendRequest<Body>,
}

impl Http {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Status and body of a GET.
    pub async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let response = self.send(get(path)).await.unwrap();
        let status = response.status();
        (status, text(response).await)
    }
}

pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).header(header::HOST, "shop.example").body(Empty::new().boxed()).unwrap()
}

pub fn post(path: &str, body: Body) -> Request<Body> {
    Request::builder().method("POST").uri(path).header(header::HOST, "shop.example").body(body).unwrap()
}

pub fn bytes(body: impl Into<Bytes>) -> Body {
    full(body)
}

pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

/// Sends bytes as they are and reads until the other side closes.
pub async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}
