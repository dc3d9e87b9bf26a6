//! Against the real Prometheus, scraping an exporter that this test serves.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use controller::{MetricError, MetricSource as _};
use model::Timestamp;
use serde_json::{Value, json};

use crate::{
    CounterAsk, CounterQueries, PrometheusSource,
    http_tests::{Peer, Reply, allow},
    prometheus::{Ask, Range},
};

/// Its name on the `PATH`, where `cargo xtask test` puts what it unpacked.
const BINARY: &str = "prometheus";

/// Time for it to start and to scrape twice.
const PATIENCE: Duration = Duration::from_secs(60);

struct Prometheus {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(exporter: &str) -> Prometheus {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let target = exporter.strip_prefix("http://").unwrap();
    std::fs::write(
        &config,
        format!("global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: exporter\n  static_configs: [{{targets: ['{target}']}}]\n"),
    )
    .unwrap();
    let port = free_port();
    let child = Command::new(BINARY)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Prometheus { child, url: format!("http://127.0.0.1:{port}"), _dir: dir }
}

/// True when the real thing is there. Loud when it is not, and an error where it must be.
fn available() -> bool {
    static SAID: OnceLock<()> = OnceLock::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|dir| dir.join(BINARY).is_file());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{BINARY} is required when CI is set");
        SAID.get_or_init(|| {
            eprintln!(
                "SKIPPED: 1 test against the real Prometheus: {BINARY} is not on the PATH (Debian package prometheus)"
            )
        });
    }
    there
}

fn now() -> Timestamp {
    let ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(ms).unwrap())
}

async fn query(source: &PrometheusSource, query: &str, range: Option<Range>) -> Result<Value, MetricError> {
    let ask = Ask { address: "peer", query, range, headers: Vec::new(), timeout: Duration::from_secs(10) };
    source.ask(ask, now()).await.map(|a| a.value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instant_and_range_queries() {
    if !available() {
        return;
    }
    const METRICS: &str = "# TYPE requests counter\nrequests{version=\"canary\"} 7\nrequests{version=\"stable\"} 93\n# TYPE odd gauge\nodd{is=\"nan\"} NaN\nodd{is=\"inf\"} +Inf\n";
    let exporter = Peer::start(Reply::Raw(
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{METRICS}", METRICS.len())
            .into_bytes(),
    ))
    .await;
    let prometheus = start(&exporter.url);
    let source = PrometheusSource::new(allow(&prometheus.url));
    let scraped = async {
        while query(&source, "sum(count_over_time(requests[1m]))", None)
            .await
            .ok()
            .and_then(|v| v[0].as_f64())
            .is_none_or(|n| n < 6.0)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, scraped).await.expect("it scrapes the exporter");

    let table: &[(&str, Value)] = &[
        ("requests{version=\"canary\"}", json!([7.0])),
        ("sort(requests)", json!([7.0, 93.0])),
        ("scalar(sum(requests))", json!(100.0)),
        ("vector(0.25)", json!([0.25])),
        ("1e-7", json!(1e-7)),
        ("no_such_metric", json!([])),
        ("odd{is=\"nan\"}", json!(["NaN"])),
        ("odd{is=\"inf\"}", json!(["+Inf"])),
        ("-odd{is=\"inf\"}", json!(["-Inf"])),
        ("scalar(no_such_metric)", json!("NaN")),
        ("requests{version=\"canary\"} / on() group_left requests{version=\"none\"}", json!([])),
        ("vector(0) / 0", json!(["NaN"])),
        ("vector(1) / 0", json!(["+Inf"])),
    ];
    for (text, expected) in table {
        assert_eq!(query(&source, text, None).await.as_ref(), Ok(expected), "{text}");
    }
    let end = now();
    let range = Range { start: end.plus_millis(-4_000), end, step: Duration::from_secs(1) };
    assert_eq!(query(&source, "vector(3)", Some(range)).await, Ok(json!([3.0, 3.0, 3.0, 3.0, 3.0])));
    let matrix = query(&source, "count_over_time(requests[10s])", None).await.unwrap();
    assert_eq!(matrix.as_array().map(Vec::len), Some(2));
    let flattened = query(&source, "requests[1m]", None).await.unwrap();
    assert!(flattened.as_array().is_some_and(|v| v.len() >= 6), "a matrix of two series, flattened: {flattened}");

    let refused = query(&source, "sum(", None).await;
    assert!(matches!(&refused, Err(MetricError::Answered(_, why)) if why.contains("parse error")), "{refused:?}");
    let string = query(&source, "\"text\"", None).await;
    assert!(matches!(&string, Err(MetricError::Unreadable(_, why)) if why.contains("string")), "{string:?}");
    let too_fine = Range { step: Duration::from_millis(1), start: end.plus_millis(-3_600_000), end };
    let refused = query(&source, "vector(1)", Some(too_fine)).await;
    assert!(matches!(&refused, Err(MetricError::Answered(..))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_a_version() {
    if !available() {
        return;
    }
    const METRICS: &str = "# TYPE took histogram\ntook_bucket{pod=\"a\",le=\"0.05\"} 4\ntook_bucket{pod=\"a\",le=\"0.1\"} 9\ntook_bucket{pod=\"a\",le=\"+Inf\"} 10\ntook_bucket{pod=\"b\",le=\"0.05\"} 1\ntook_bucket{pod=\"b\",le=\"0.1\"} 1\ntook_bucket{pod=\"b\",le=\"+Inf\"} 2\n# TYPE requests counter\nrequests{code=\"500\"} 3\n";
    let exporter = Peer::start(Reply::Raw(
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{METRICS}", METRICS.len())
            .into_bytes(),
    ))
    .await;
    let prometheus = start(&exporter.url);
    let source = PrometheusSource::new(allow(&prometheus.url));
    let queries = CounterQueries {
        buckets: "sum by (le) (took_bucket)".to_owned(),
        errors: "sum(requests{code=~\"5..\"})".to_owned(),
    };
    let ask = |queries: &CounterQueries, start, end, step| CounterAsk {
        address: "peer".to_owned(),
        queries: queries.clone(),
        start,
        end,
        step,
    };
    let scraped = async {
        loop {
            let end = now();
            let step = Duration::from_secs(1);
            let got = source.counters(&ask(&queries, end.plus_millis(-4_000), end, step), PATIENCE).await;
            if let Some(got) = got.ok().filter(|got| got.scrapes.len() >= 2) {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let got = tokio::time::timeout(PATIENCE, scraped).await.expect("it scrapes the exporter");
    assert_eq!(got.edges_us, [50_000, 100_000]);
    for scrape in got.scrapes.values() {
        assert_eq!((scrape.n, scrape.errors, scrape.at_most.as_slice()), (12, 3, [5, 10].as_slice()));
    }
    let unsummed = CounterQueries { buckets: "took_bucket".to_owned(), ..queries.clone() };
    let end = now();
    let unsummed = ask(&unsummed, end.plus_millis(-2_000), end, Duration::from_secs(1));
    let refused = source.counters(&unsummed, PATIENCE).await;
    assert!(matches!(&refused, Err(MetricError::Unreadable(_, why)) if why.contains("sum them")), "{refused:?}");
}
