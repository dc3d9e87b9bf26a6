//! The judge fed from a real Prometheus, which scrapes the splitter; and what is said of a recipe at the traffic so far.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use access::Role;
use axum::{
    body::Body,
    http::{Method, header},
};
use controller::{SampleStore as _, Traffic};
use demo::load::{Counters, Load};
use model::{Digest, Epoch, Kind, ReleaseId, Tick, VersionTick, Weight, event::CanaryStarted};
use receipt_log::{Clock as _, Draft, Log as _, ManualClock, MemorySigner, ReceiptLog};
use receipts::Payload;
use serde_json::{Value, json};
use store_sqlite::SqliteStore;

use crate::{
    process::{Running, deliveryos, free, run, until},
    support::{Server, request, text},
};

const RECIPE: &str = include_str!("../../src/demo/quick.yaml");
/// Its name on the `PATH`, where `cargo xtask test` puts what it unpacked.
const PROMETHEUS: &str = "prometheus";

/// True when the real thing is there. Loud when it is not, and an error where it must be.
fn available() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|dir| dir.join(PROMETHEUS).is_file());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{PROMETHEUS} is required when CI is set");
        eprintln!(
            "SKIPPED: 1 test of the judge fed by the real Prometheus: {PROMETHEUS} is not on the PATH (Debian package prometheus)"
        );
    }
    there
}

struct Prometheus(Child);

impl Prometheus {
    fn start(dir: &Path, listen: &str, target: &str) -> Self {
        let config = dir.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: splitter\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site {
    directory: tempfile::TempDir,
    base: String,
    token: String,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = run(self.directory.path(), &["splitter", "--stop"]);
    }
}

impl Site {
    fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let mut all = args.to_vec();
        all.extend(["--server", &self.base, "--token", &self.token]);
        run(self.directory.path(), &all)
    }

    fn view(&self, release: &str) -> Value {
        let (code, out, err) = self.cli(&["release", "status", release, "--json"]);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    fn start(&self, version: &str) -> (String, Vec<String>) {
        let recipe = self.directory.path().join("recipe.yaml").display().to_string();
        let (code, out, err) = self.cli(&["release", "start", "checkout", version, "--recipe", &recipe, "--json"]);
        assert_eq!(code, 0, "{err}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        let warnings = serde_json::from_value(answer["warnings"].clone()).unwrap_or_default();
        (answer["release"].as_str().unwrap().to_owned(), warnings)
    }

    fn facts(&self, release: &str, kind: &str) -> Option<Value> {
        let view = self.view(release);
        let of_kind = view["receipts"].as_array().unwrap().iter().rev().find(|r| r["payload"]["kind"] == kind);
        of_kind.map(|receipt| receipt["payload"].clone())
    }
}

/// The finest tolerance that a warning says the buckets allow.
fn finest(warning: &str) -> Option<f64> {
    let (_, rest) = warning.split_once("p99 is compared with ")?;
    let (percent, _) = rest.split_once(" %, the finest that they allow")?;
    Some(percent.parse::<f64>().ok()? / 100.0)
}

#[test]
fn a_real_prometheus_feeds_the_judge_and_holds_up_no_abort_when_it_hangs() {
    if !available() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [listen, traffic, metrics, prometheus] = free();
    let mut config = format!(
        r#"
        listen = "{listen}"
        [splitter]
        metrics_listen = "{metrics}"
        [metrics.prometheus]
        url = "http://{prometheus}"
        [services.checkout]
        listen = ["{traffic}"]
        stable = "v1"
        dead_man_seconds = 60
        [services.checkout.judge]
        source = "prometheus"
        scrape_seconds = 1
        buckets = 'sum by (le) (deliveryos_request_duration_seconds_bucket{{release="{{version}}"}})'
        errors = 'sum(deliveryos_request_errors_total{{release="{{version}}"}})'
        "#
    );
    for (label, errors) in [("v1", "0"), ("v2", "0.5"), ("v3", "0")] {
        config += &format!(
            "[services.checkout.versions.{label}]\nhealth_path = \"/healthz\"\ncommand = [{:?}, \"demo-service\", \"--port\", \"{{port}}\", \
             \"--version\", \"{label}\", \"--latency-ms\", \"40\", \"--sigma\", \"0.05\", \"--error-rate\", \"{errors}\"]\n",
            env!("CARGO_BIN_EXE_deliveryos")
        );
    }
    std::fs::write(directory.path().join("deliveryos.toml"), config).unwrap();
    std::fs::write(directory.path().join("recipe.yaml"), RECIPE.replace("duration: 4s", "duration: 60s")).unwrap();
    let scraper = Prometheus::start(directory.path(), &prometheus.to_string(), &metrics.to_string());
    let mut site = Site { base: format!("http://{listen}"), token: String::new(), directory };
    let data = site.directory.path().to_owned();
    let mut server = deliveryos(&data);
    server.args(["serve", "--config", &data.join("deliveryos.toml").display().to_string()]);
    let _server = Running::start(server);
    until("the local socket", || data.join("admin.sock").exists().then_some(()));
    let (code, out, err) = run(&data, &["token", "create", "--role", "operator"]);
    assert_eq!(code, 0, "{err}");
    site.token = out.trim().to_owned();
    until("the service", || std::net::TcpStream::connect(traffic).ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let load = Load { target: traffic, paths: vec!["/".into()], rate: 100.0, seed: 1 };
    let _counters: Arc<Counters> = {
        let _inside = runtime.enter();
        load.start(std::future::pending()).unwrap().0
    };
    // 500 requests of stable's past say what is slow: its p99 is some 45 ms where the machine is quiet, and the buckets around it end at 50 and
    // 75 ms; a busy machine puts it into another one. The edges are at least a third apart everywhere, so all are too coarse for 10 %.
    let coarse = until("what the buckets can test", || {
        let http = format!("{}/api/v1/services/checkout/traffic", site.base);
        let answer = runtime.block_on(async {
            let answer = reqwest::Client::new().get(http).bearer_auth(&site.token).send().await.ok()?;
            answer.json::<Value>().await.ok()
        })?;
        answer["warning"].as_str().filter(|warning| warning.contains("too coarse")).map(str::to_owned)
    });
    assert!(finest(&coarse) > Some(0.25), "{coarse}");

    let (bad, warnings) = site.start("v2");
    assert!(warnings.len() == 1 && finest(&warnings[0]) > Some(0.25), "said at the start: {warnings:?}");
    let failed = until("the abort", || site.facts(&bad, "delivery.analysis.failed"));
    let counters = &failed["counters"];
    assert_eq!(counters["fit"], "coarse", "{counters}");
    assert!(counters["tested_tolerance"].as_f64() > Some(0.25), "{counters}");
    assert_eq!(counters["canary"]["errors"], "sum(deliveryos_request_errors_total{release=\"v2\"})");
    let cited =
        failed["cite"].as_array().unwrap().iter().any(|c| c.as_str().unwrap().contains(&prometheus.to_string()));
    assert!(cited, "{}", failed["cite"]);
    assert!(failed["totals"]["canary"]["errors"].as_u64() > Some(0), "{failed}");
    until("it has ended", || site.facts(&bad, "delivery.release.completed"));
    let (code, out, err) = run(&data, &["log", "verify", "--json"]);
    assert_eq!(code, 0, "the verdict follows from its ticks: {out} {err}");

    let (good, _) = site.start("v3");
    until("its weight", || (site.view(&good)["row"]["weight"] == 25).then_some(()));
    scraper.signal("-STOP");
    // A question that nobody answers is under way by now, or will be within a second; the answer to an abort waits for neither.
    std::thread::park_timeout(std::time::Duration::from_millis(1_500));
    let begun = std::time::Instant::now();
    let (code, _, err) = site.cli(&["release", "abort", &good, "--reason", "Prometheus hangs"]);
    assert_eq!(code, 0, "{err}");
    until("the traffic is gone", || (site.view(&good)["row"]["weight"] == 0).then_some(()));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    scraper.signal("-CONT");
}

#[tokio::test]
async fn the_start_of_a_release_says_what_its_rule_would_often_do() {
    let server = Server::start().await;
    *server.reached.traffic.lock().unwrap() =
        Traffic { rate: Some(200.0), warning: Some("the judge is fed by a source that is silent".to_owned()) };
    let token = server.token(Role::Operator).await;
    let start = async |id: &str, rule: &str| -> Vec<String> {
        let recipe = include_str!("../../../examples/rollout-default.yaml").replace("rule: sequential", rule);
        let body = json!({ "id": id, "service": "checkout", "version": "v2", "recipe": recipe });
        let sent = request(Method::POST, "/api/v1/releases")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = text(server.send(sent.body(Body::from(body.to_string())).unwrap()).await).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["release"], "checkout-1", "{answer}");
        serde_json::from_value(answer["warnings"].clone()).unwrap_or_default()
    };
    let often = start("command-a", "rule: threshold").await;
    assert!(often.len() == 1 && often[0].contains("the rule threshold would stop about"), "{often:?}");
    assert!(often[0].contains("at 200 requests/s"), "{often:?}");
    assert_eq!(start("command-b", "rule: sequential").await, ["the judge is fed by a source that is silent"]);
    *server.reached.traffic.lock().unwrap() = Traffic::default();
    assert_eq!(start("command-c", "rule: threshold").await, [""; 0], "nothing is known of the traffic");
}

/// A release that was served 200 requests a second, in a data directory.
async fn served(dir: &Path) {
    let store = SqliteStore::open(dir).await.unwrap();
    let clock = ManualClock::new("2026-05-07T13:00:00Z".parse().unwrap());
    let signer = Arc::new(MemorySigner::from_seed(&[7; 32]));
    let log = ReceiptLog::open(Arc::new(store.clone()), signer, &clock, Some("test.example/log")).await.unwrap();
    let release: ReleaseId = "checkout-1".parse().unwrap();
    let digest = |n: u8| Digest::from_sha256(&[n; 32]);
    let facts = CanaryStarted {
        strategy: "canary".to_owned(),
        service: "checkout".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: "v2".parse().unwrap(),
        digest: digest(2),
        stable_version: "v1".parse().unwrap(),
        stable_digest: digest(1),
        recipe: digest(3),
        steps: 0,
        planned: Vec::new(),
        planned_ms: None,
        stops: Vec::new(),
        runtime: "local".to_owned(),
    };
    let now = clock.now();
    let payload = Payload::new(Kind::CanaryStarted, now, "dana".parse().unwrap(), &facts).unwrap();
    log.append(Draft { key: "a".to_owned(), payload: payload.release(release.clone()) }).await.unwrap();
    let of = |n| VersionTick { n, ..VersionTick::default() };
    let ticks: Vec<Tick> = (1..=30_u32)
        .map(|second| Tick {
            seq: second.into(),
            boot: "b".to_owned(),
            at: now.plus_millis(i64::from(second) * 1_000),
            weight: Weight::new(5).unwrap(),
            weight_changed: false,
            epoch: Epoch(1),
            stable: of(190),
            canary: Some(of(10)),
            canary_last_sent: None,
            sticky: false,
            judged: None,
            counted: Vec::new(),
        })
        .collect();
    store.append_ticks(&release, &ticks).await.unwrap();
    store.flush_ticks().await.unwrap();
    log.drain().await;
    store.close().await.unwrap();
}

#[test]
fn lint_takes_the_traffic_that_a_service_has_had() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(served(directory.path()));
    let recipe = directory.path().join("recipe.yaml");
    let text = include_str!("../../../examples/rollout-default.yaml").replace("rule: sequential", "rule: threshold");
    std::fs::write(&recipe, text).unwrap();
    let lint = |service: &str| {
        let recipe = recipe.display().to_string();
        run(directory.path(), &["recipe", "lint", &recipe, "--service", service, "--json"])
    };
    let (code, out, err) = lint("checkout");
    assert_eq!(code, 0, "a warning refuses nothing: {err}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["rate"], &said["estimate"]["rate"]), (&json!(200.0), &json!(200.0)));
    assert!(said["false_stops"]["heavy"].as_f64() > Some(0.3), "{said}");
    let (code, _, err) = lint("billing");
    assert!(code == 3 && err.contains("no traffic kept"), "{code} {err}");
}
