//! The real executable end to end: a release that climbs, one that is stopped, and a server killed in the middle of one.

use std::{
    io::{Read, Write},
    path::Path,
    process::Command,
    sync::Arc,
};

use demo::load::{Counters, Load};
use serde_json::Value;

use crate::process::{Running, deliveryos, free, run, until};

/// Steps that are long enough to look, and short enough to wait for.
const RECIPE: &str = include_str!("../../src/demo/quick.yaml");

pub(crate) struct Site {
    directory: tempfile::TempDir,
    pub(crate) base: String,
    traffic: std::net::SocketAddr,
    metrics: std::net::SocketAddr,
    token: String,
}

impl Site {
    pub(crate) fn data(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn server(&self) -> Command {
        let mut command = deliveryos(self.data());
        command.args(["serve", "--config", &self.data().join("deliveryos.toml").display().to_string()]);
        command
    }

    pub(crate) fn new() -> (Self, Running) {
        let directory = tempfile::tempdir().unwrap();
        let [listen, traffic, metrics] = free();
        let mut text = format!(
            "listen = \"{listen}\"\n[splitter]\nmetrics_listen = \"{metrics}\"\n[services.checkout]\nlisten = [\"{traffic}\"]\nstable = \"v1\"\ndead_man_seconds = 60\n"
        );
        for (label, errors) in [("v1", "0"), ("v2", "0"), ("v3", "0"), ("v4", "0"), ("v5", "0.5")] {
            text += &format!(
                "[services.checkout.versions.{label}]\nhealth_path = \"/healthz\"\ncommand = [{:?}, \"demo-service\", \"--port\", \"{{port}}\", \
                 \"--version\", \"{label}\", \"--latency-ms\", \"40\", \"--sigma\", \"0.05\", \"--error-rate\", \"{errors}\"]\n",
                env!("CARGO_BIN_EXE_deliveryos")
            );
        }
        std::fs::write(directory.path().join("deliveryos.toml"), text).unwrap();
        std::fs::write(directory.path().join("quick.yaml"), RECIPE).unwrap();
        std::fs::write(directory.path().join("waits.yaml"), RECIPE.replace("pause: {duration: 4s}", "pause: {}"))
            .unwrap();
        let mut site = Self { base: format!("http://{listen}"), traffic, metrics, token: String::new(), directory };
        let server = Running::start(site.server());
        until("the local socket", || site.data().join("admin.sock").exists().then_some(()));
        let (code, out, err) = run(site.data(), &["token", "create", "--role", "operator"]);
        assert_eq!(code, 0, "{err}");
        site.token = out.trim().to_owned();
        site.serving();
        (site, server)
    }

    pub(crate) fn serving(&self) {
        until("the pages", || (self.cli(&["release", "list"]).0 == 0).then_some(()));
    }

    pub(crate) fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let mut all = args.to_vec();
        all.extend(["--server", &self.base, "--token", &self.token]);
        run(self.data(), &all)
    }

    pub(crate) fn start(&self, version: &str, recipe: &str) -> String {
        let recipe = self.data().join(recipe).display().to_string();
        // The data plane may still be coming up.
        until("a start", || {
            let (code, out, err) =
                self.cli(&["release", "start", "checkout", version, "--recipe", &recipe, "--reason", "test"]);
            assert!(code == 0 || code == 3, "{err}");
            (code == 0).then(|| out.trim().to_owned())
        })
    }

    pub(crate) fn view(&self, release: &str) -> Option<Value> {
        let (code, out, _) = self.cli(&["release", "status", release, "--json"]);
        (code == 0).then(|| serde_json::from_str(&out).unwrap())
    }

    pub(crate) fn weight(&self, release: &str) -> u64 {
        self.view(release).and_then(|view| view["row"]["weight"].as_u64()).unwrap_or(0)
    }

    /// `splitter --take-over`, until it is the one that answers.
    #[expect(clippy::zombie_processes, reason = "it outlives us by design and is told to end with the site")]
    fn take_over(&self) {
        let metrics = self.metrics.to_string();
        let mut successor = deliveryos(self.data());
        successor.args(["splitter", "--take-over", "--detach", "--metrics-listen", &metrics]);
        let successor = successor.spawn().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = self.data().join("splitter").join(splitter::control::SOCKET_NAME);
        until("the successor", || {
            runtime.block_on(async {
                let mut client = splitter::control::Client::connect(&socket).await.ok()?;
                match client.call(splitter::control::Request::Hello).await.ok()? {
                    splitter::control::Response::Hello(hello) => {
                        (hello.pid == successor.id() && hello.metrics == Some(self.metrics)).then_some(())
                    }
                    _ => None,
                }
            })
        });
    }

    fn splitter_pid(&self) -> Option<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = self.data().join("splitter").join(splitter::control::SOCKET_NAME);
        runtime.block_on(async {
            let mut client = splitter::control::Client::connect(&socket).await.ok()?;
            match client.call(splitter::control::Request::Hello).await.ok()? {
                splitter::control::Response::Hello(hello) => Some(hello.pid),
                _ => None,
            }
        })
    }

    /// The version that answers a request.
    pub(crate) fn served_by(&self) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(self.traffic).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.lines().find_map(|line| line.strip_prefix("x-version: ")).map(str::to_owned)
    }

    pub(crate) fn load(&self) -> (Arc<Counters>, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let load = Load { target: self.traffic, paths: vec!["/".into()], rate: 100.0, seed: 1 };
        let counters = {
            let _inside = runtime.enter();
            load.start(std::future::pending()).unwrap().0
        };
        (counters, runtime)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = run(self.data(), &["splitter", "--stop"]);
    }
}

/// Kinds of a release's receipts, in order.
fn kinds(view: &Value) -> Vec<&str> {
    view["receipts"].as_array().unwrap().iter().map(|receipt| receipt["payload"]["kind"].as_str().unwrap()).collect()
}

fn count(view: &Value, kind: &str) -> usize {
    kinds(view).into_iter().filter(|found| *found == kind).count()
}

#[test]
fn releases_climb_stop_and_survive_a_killed_server() {
    let (site, mut server) = Site::new();
    until("the service", || std::net::TcpStream::connect(site.traffic).ok());
    until("v1 is ready", || site.served_by());
    let saved = site.data().join("splitter").join("state.json");
    let old_state = std::fs::read(&saved).unwrap();
    let (counters, load) = site.load();

    // It climbs, and `watch` says so until the end.
    let first = site.start("v2", "quick.yaml");
    let (code, out, err) = site.cli(&["release", "watch", &first]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("25 → 50 %") && out.contains("v2 is stable now"), "{out}");

    // It is stopped: 0 % at once, drained, and the exit code says no.
    let second = site.start("v3", "waits.yaml");
    until("25 %", || (site.weight(&second) == 25).then_some(()));
    let (code, _, err) = site.cli(&["release", "abort", &second, "--reason", "enough"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(site.cli(&["release", "watch", &second]).0, 1);
    let view = site.view(&second).unwrap();
    assert_eq!(view["row"]["weight"], 0);
    assert_eq!(count(&view, "delivery.canary.aborted"), 1);

    // Killed in the middle: traffic flows on, the next server carries on, nothing happens twice.
    let third = site.start("v4", "quick.yaml");
    until("25 %", || (site.weight(&third) == 25).then_some(()));
    server.kill();
    let before = counters.totals();
    until("traffic without a server", || (counters.totals().ok > before.ok + 100).then_some(()));
    // The data plane is upgraded under this traffic.
    site.take_over();
    let before = counters.totals();
    until("traffic through the new data plane", || (counters.totals().ok > before.ok + 100).then_some(()));
    let mut server = Running::start(site.server());
    site.serving();
    let (code, out, err) = site.cli(&["release", "watch", &third]);
    assert_eq!(code, 0, "{out}{err}");
    let view = site.view(&third).unwrap();
    let receipts = view["receipts"].as_array().unwrap();
    let mut operations: Vec<&str> = receipts.iter().filter_map(|r| r["payload"]["operation"].as_str()).collect();
    let all = operations.len();
    operations.sort_unstable();
    operations.dedup();
    assert_eq!(operations.len(), all, "an operation is recorded once");
    let weights: Vec<u64> = receipts
        .iter()
        .filter(|r| r["payload"]["kind"] == "delivery.canary.stepped")
        .filter_map(|r| r["payload"]["weight"].as_u64())
        .collect();
    assert_eq!(weights, [25, 50, 100], "{:?}", kinds(&view));
    // The sum follows the end.
    let sums = until("the sum", || Some(count(&site.view(&third)?, "delivery.release.completed")).filter(|n| *n > 0));
    assert_eq!(sums, 1);

    let totals = counters.totals();
    load.shutdown_background();
    assert_eq!((totals.failed, totals.lost, totals.skipped), (0, 0, 0), "{totals:?}");

    // One that fails is stopped by the judge.
    let (counters, load) = site.load();
    let fourth = site.start("v5", "quick.yaml");
    assert_eq!(site.cli(&["release", "watch", &fourth]).0, 1);
    let view = site.view(&fourth).unwrap();
    assert!(view["row"]["worst"].as_str().unwrap().contains("5xx"), "{}", view["row"]);
    assert!(counters.totals().failed > 0, "the failures were real");
    load.shutdown_background();

    // A data plane that comes back with what it had saved before all this (its disk was full, say) serves what the log says.
    let splitter = site.splitter_pid().unwrap();
    std::fs::write(&saved, old_state).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(splitter).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the splitter is back", || site.splitter_pid().filter(|pid| *pid != splitter));
    until("v4 again", || site.served_by().filter(|version| version == "v4"));
    let view = until("a receipt", || {
        site.view(&fourth).filter(|view| kinds(view).last() == Some(&"delivery.command.accepted"))
    });
    let said = &view["receipts"].as_array().unwrap().last().unwrap()["payload"]["reason"];
    assert_eq!(said, "the data plane served v1 as stable, by the log it is v4");

    server.kill();
    let (code, out, err) = run(site.data(), &["log", "verify", "--json"]);
    assert!(code == 0 && out.contains("\"holds\":true"), "{out}{err}");
}
