//! The port's contract over a real splitter with real processes, and what happens when either side is killed.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use controller::{Runtime, RuntimeError, Workload, WorkloadSource, conformance::RuntimeSubject};
use local::{LocalOptions, LocalRuntime, LocalService};
use model::{Epoch, ServiceId, Track, Weight};
use rollout::DeadMan;
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

/// What this executable is when it is started as a process: in its environment or an argument.
const ROLE: &str = "LOCAL_TEST_ROLE";

/// Added for a successor: a further test name for the harness, that no test has.
const TAKE_OVER: &str = "take-over";

/// What a recipe says that says nothing.
const DEAD_MAN: DeadMan = DeadMan { after_ms: 60_000, stated: false, abort: false };

/// Not a test: the processes that tests start are this executable again, so that they are never of another build.
#[test]
fn process() {
    let argument =
        std::env::args().find_map(|argument| Some(argument.strip_prefix(ROLE)?.strip_prefix('=')?.to_owned()));
    let Some(role) = argument.or_else(|| std::env::var(ROLE).ok()) else { return };
    match role.split_once(' ').unwrap() {
        ("splitter", dir) => {
            let options = splitter::Options { state_dir: dir.into(), workers: 1, metrics_listen: None, detach: true };
            let take_over = std::env::args().any(|argument| argument == TAKE_OVER);
            let run = if take_over { splitter::run_as_successor } else { splitter::run };
            run(options).unwrap();
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
        // An argument, which the harness takes for the name of a test that there is not.
        command: Some(myself().into_iter().chain([format!("{ROLE}=splitter {}", dir.display())]).collect()),
        take_over: Some(vec![TAKE_OVER.to_owned()]),
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
    canary_of(runtime, weight, DEAD_MAN).await
}

async fn canary_of(runtime: &LocalRuntime, weight: u8, dead_man: DeadMan) -> SocketAddr {
    runtime.ensure(&shop(), Epoch(1), &workload("v1", "a")).await.unwrap();
    runtime.start_canary(&shop(), Epoch(1), &workload("v2", "b"), dead_man).await.unwrap();
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

/// What the recipe states goes before the configuration, also for a splitter that had to be started again.
#[tokio::test]
async fn the_recipes_dead_man_time_is_the_splitters() {
    let machine = Machine::new();
    let mut options = options(machine.dir.path());
    options.services.get_mut(&shop()).unwrap().dead_man_seconds = Some(86_400);
    let runtime = LocalRuntime::start(options);
    let address = canary_of(&runtime, 100, DeadMan { after_ms: 2_000, stated: true, abort: false }).await;
    let before = machine.hello().await.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(before.pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("another one", async || machine.hello().await.filter(|hello| hello.boot != before.boot)).await;
    drop(runtime);
    eventually("the canary gets nothing any more", async || get(address).await.ok().filter(|answer| answer == "v1"))
        .await;
}

/// An upgrade: the program that the server would start is not the one that runs.
#[tokio::test]
async fn a_splitter_of_another_build_is_succeeded_without_losing_a_request() {
    let machine = Machine::new();
    let old_program = machine.dir.path().join("old");
    std::fs::copy(std::env::current_exe().unwrap(), &old_program).unwrap();
    let patient = || {
        let mut options = options(machine.dir.path());
        options.services.get_mut(&shop()).unwrap().dead_man_seconds = Some(86_400);
        options
    };
    let mut old = patient();
    old.command.as_mut().unwrap()[0] = old_program.display().to_string();
    let first = LocalRuntime::start(old);
    let address = canary_at(&first, 100).await;
    let before = machine.hello().await.unwrap();
    drop(first);

    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = tokio::spawn({
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(get(address).await.unwrap(), "v2");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let second = LocalRuntime::start(patient());
    let after = eventually("a successor", async || machine.hello().await.filter(|h| h.boot != before.boot)).await;
    assert_eq!(after.gap, None, "nothing was interrupted");
    let seen = sent.load(Ordering::Relaxed);
    eventually("it serves", async || (sent.load(Ordering::Relaxed) > seen + 50).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    client.await.unwrap();
    second.ensure(&shop(), Epoch(2), &workload("v1", "a")).await.unwrap();
    assert_eq!(second.observe(&shop()).await.unwrap().weight, Weight::FULL);
    // The same build again is left alone.
    drop(second);
    let third = LocalRuntime::start(patient());
    let mut ticks = third.ticks();
    for _ in 0..2 {
        assert_eq!(ticks.recv().await.unwrap().1.boot, after.boot);
    }
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
async fn how_a_canary_ends_is_seen() {
    let machine = Machine::new();
    let runtime = LocalRuntime::start(options(machine.dir.path()));
    runtime.ensure(&shop(), Epoch(1), &workload("v1", "a")).await.unwrap();
    let mut canary = workload("v2", "b");
    if let WorkloadSource::Process { command, .. } = &mut canary.source {
        *command = ["sh", "-c", "exit 7"].map(str::to_owned).to_vec();
    }
    runtime.start_canary(&shop(), Epoch(1), &canary, DEAD_MAN).await.unwrap();
    let ends = eventually("it has ended three times", async || {
        let seen = runtime.observe(&shop()).await.unwrap().canary?;
        (seen.ends.len() >= 3).then_some(seen.ends)
    })
    .await;
    assert!(ends.iter().all(|end| end.how == "with exit status 7"), "{ends:?}");
    assert!(ends.is_sorted_by_key(|end| end.at), "{ends:?}");
    // Another one in the slot has ended never.
    runtime.stop(&shop(), Epoch(1), Track::Canary, 0).await.unwrap();
    runtime.start_canary(&shop(), Epoch(1), &workload("v3", "c"), DEAD_MAN).await.unwrap();
    assert_eq!(runtime.observe(&shop()).await.unwrap().canary.unwrap().ends, []);
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
