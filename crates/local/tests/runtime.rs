//! The port's contract over a real splitter with real processes, and what happens when either side is killed.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use controller::{Runtime, RuntimeError, Workload, WorkloadSource, conformance::RuntimeSubject};
use local::{LocalOptions, LocalRuntime, LocalService};
use model::{Epoch, ServiceId, Track, Weight};
use splitter::control::{Client, Request, Response};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(20);

async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < limit, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What this executable is when it is started as a process.
const ROLE: &str = "LOCAL_TEST_ROLE";

/// Not a test: the processes that tests start are this executable again, so that they are never of another build.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.split_once(' ').unwrap() {
        ("splitter", dir) => {
            let options = splitter::Options { state_dir: dir.into(), workers: 1, metrics_listen: None, detach: true };
            splitter::run(options).unwrap();
        }
        (_, name) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(backend(std::env::var("PORT").unwrap().parse().unwrap(), name));
        }
    }
    std::process::exit(0);
}

/// Answers every request with its name.
async fn backend(port: u16, name: &str) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

fn myself() -> Vec<String> {
    let executable = std::env::current_exe().unwrap().display().to_string();
    [executable.as_str(), "--exact", "process", "--nocapture"].map(str::to_owned).to_vec()
}

fn workload(name: &str, byte: &str) -> Workload {
    Workload {
        version: name.parse().unwrap(),
        digest: format!("sha256:{}", byte.repeat(64)).parse().unwrap(),
        source: WorkloadSource::Process {
            command: myself(),
            env: BTreeMap::from([(ROLE.to_owned(), format!("backend {name}"))]),
            health_path: "/healthz".into(),
        },
    }
}

fn shop() -> ServiceId {
    "shop".parse().unwrap()
}

fn options(dir: &Path) -> LocalOptions {
    let service = LocalService {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        limits: splitter::Limits::default(),
        sticky: None,
        trust_forwarded: false,
        dead_man_seconds: Some(3),
    };
    LocalOptions {
        state_dir: dir.to_owned(),
        command: Some(
            ["env".to_owned(), format!("{ROLE}=splitter {}", dir.display())].into_iter().chain(myself()).collect(),
        ),
        services: BTreeMap::from([(shop(), service)]),
    }
}

/// Ends the splitter and its processes when the test is over, however it ends.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    async fn hello(&self) -> Option<splitter::control::Hello> {
        let mut client = Client::connect(&self.dir.path().join("control.sock")).await.ok()?;
        match client.call(Request::Hello).await.ok()? {
            Response::Hello(hello) => Some(hello),
            _ => None,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let socket = self.dir.path().join("control.sock");
        let end = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = Client::connect(&socket).await.ok()?;
                let shutdown = Request::Shutdown { epoch: u64::MAX, drain_ms: 100, stop_versions: true };
                client.call(shutdown).await.ok()?;
                eventually("the splitter ends", async || Client::connect(&socket).await.is_err().then_some(())).await;
                Some(())
            })
        });
        let _ = end.join();
    }
}

async fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

async fn canary_at(runtime: &LocalRuntime, weight: u8) -> SocketAddr {
    runtime.ensure(&shop(), Epoch(1), &workload("v1", "a")).await.unwrap();
    runtime.start_canary(&shop(), Epoch(1), &workload("v2", "b")).await.unwrap();
    eventually("the canary is ready", async || {
        runtime.observe(&shop()).await.unwrap().canary.filter(|canary| canary.ready)
    })
    .await;
    runtime.set_weight(&shop(), Epoch(1), "to-weight", Weight::new(weight).unwrap()).await.unwrap();
    runtime.hello().await.unwrap().listening["shop"][0]
}

#[tokio::test]
async fn keeps_the_contract() {
    controller::conformance::runtime(|| async {
        let machine = Machine::new();
        let runtime = LocalRuntime::start(options(machine.dir.path()));
        RuntimeSubject {
            runtime: Arc::new(runtime),
            service: shop(),
            stable: workload("v1", "a"),
            canary: workload("v2", "b"),
            keep: Box::new(machine),
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_finds_everything_and_one_that_does_not_is_missed() {
    let machine = Machine::new();
    let first = LocalRuntime::start(options(machine.dir.path()));
    let address = canary_at(&first, 100).await;
    let boot = machine.hello().await.unwrap().boot;
    // The server is gone: requests go on.
    drop(first);
    assert_eq!(get(address).await.unwrap(), "v2");
    let second = LocalRuntime::start(options(machine.dir.path()));
    let mut ticks = second.ticks();
    second.ensure(&shop(), Epoch(2), &workload("v1", "a")).await.unwrap();
    let seen = second.observe(&shop()).await.unwrap();
    assert_eq!((seen.weight, seen.canary.unwrap().version.as_str()), (Weight::FULL, "v2"));
    assert_eq!(machine.hello().await.unwrap().boot, boot, "the same splitter");
    // While it is there, the dead man's switch stays off for longer than its time.
    for _ in 0..5 {
        let (_, tick) = ticks.recv().await.unwrap();
        assert_eq!((tick.boot.as_str(), tick.weight), (boot.as_str(), Weight::FULL));
    }
    // Gone for good.
    drop(second);
    eventually("the canary gets nothing any more", async || (get(address).await.unwrap() == "v1").then_some(())).await;
    let third = LocalRuntime::start(LocalOptions { command: None, ..options(machine.dir.path()) });
    let seen = third.observe(&shop()).await.unwrap();
    assert_eq!(seen.weight, Weight::ZERO);
    assert!(seen.dead_man_at.is_some());
}

#[tokio::test]
async fn a_splitter_that_is_killed_is_started_again_with_its_weights() {
    let machine = Machine::new();
    let runtime = LocalRuntime::start(options(machine.dir.path()));
    let address = canary_at(&runtime, 100).await;
    let mut ticks = runtime.ticks();
    ticks.recv().await.unwrap();
    let before = machine.hello().await.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(before.pid).unwrap());
    assert_eq!(nix::unistd::getsid(Some(pid)), Ok(pid), "it leads a session of its own");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let after =
        eventually("another one", async || machine.hello().await.filter(|hello| hello.boot != before.boot)).await;
    assert!(after.gap.is_some());
    eventually("requests are answered", async || get(address).await.ok().filter(|answer| answer == "v2")).await;
    let seen = runtime.observe(&shop()).await.unwrap();
    assert_eq!(seen.weight, Weight::FULL);
    assert!(seen.last_gap_ms.unwrap() > 0);
    let tick = eventually("ticks of the new one", async || {
        ticks.recv().await.ok().map(|(_, tick)| tick).filter(|tick| tick.boot == after.boot)
    })
    .await;
    assert_eq!(tick.seq, 1, "none is lost");
}

#[tokio::test]
async fn what_cannot_be_reached_or_is_not_configured_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = LocalRuntime::start(LocalOptions { command: None, ..options(dir.path()) });
    let begun = Instant::now();
    for result in [
        runtime.ensure(&shop(), Epoch(1), &workload("v1", "a")).await,
        runtime.observe(&shop()).await.map(drop),
        runtime.stop(&shop(), Epoch(1), Track::Canary, 0).await,
        runtime.set_weight(&shop(), Epoch(1), "x", Weight::ZERO).await.map(drop),
    ] {
        assert!(matches!(result, Err(RuntimeError::Unreachable(_))), "{result:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "an abort does not wait for what is not there");
    let unknown: ServiceId = "nobody".parse().unwrap();
    let error = runtime.ensure(&unknown, Epoch(1), &workload("v1", "a")).await.unwrap_err();
    assert_eq!(error, RuntimeError::UnknownService(unknown));
    assert_eq!(runtime.name(), "local");
}

#[tokio::test]
async fn a_splitter_that_is_shut_down_stays_down() {
    let machine = Machine::new();
    let runtime = LocalRuntime::start(options(machine.dir.path()));
    let address = canary_at(&runtime, 10).await;
    runtime.shut_down(Epoch(1), 100).await.unwrap();
    eventually("it is gone", async || (machine.hello().await.is_none() && get(address).await.is_err()).then_some(()))
        .await;
}
