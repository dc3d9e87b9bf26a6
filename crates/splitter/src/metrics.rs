//! The Prometheus endpoint: text exposition format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::Track;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::stats::{Counts, Delta};

/// Upper bounds of the duration histogram, µs. From 0.5 ms to 60 s, about 2.5 apart, with the usual 5, 10, 25, 50, 100.
const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];

/// Releases whose counters are kept at once; the one counted longest ago goes first. Well above what a day of releases leaves.
const MAX_SERIES: usize = 256;

/// Scrapes at once: Prometheus servers come in pairs; others wait.
const MAX_SCRAPES: usize = 8;

/// Cumulative counters by service, track and release.
#[derive(Debug, Default)]
pub(crate) struct Series {
    all: BTreeMap<(String, &'static str, String), Cumulative>,
    order: u64,
}

#[derive(Debug, Default)]
struct Cumulative {
    counts: Counts,
    buckets: [u64; BOUNDS_US.len()],
    last: u64,
}

impl Series {
    /// Adds what a worker counted. Requests count under the track that their version has when they are collected, so a version
    /// that is promoted begins a new series and no series goes back.
    pub(crate) fn add(&mut self, service: &str, track: Track, release: &str, delta: &Delta) {
        self.order += 1;
        let key = (service.to_owned(), track.as_str(), release.to_owned());
        if !self.all.contains_key(&key)
            && self.all.len() >= MAX_SERIES
            && let Some(oldest) = self.all.iter().min_by_key(|(_, series)| series.last).map(|(key, _)| key.clone())
        {
            self.all.remove(&oldest);
        }
        let series = self.all.entry(key).or_default();
        series.last = self.order;
        series.counts.add(&delta.counts);
        for (edge, count) in &delta.latencies {
            // The edge is the upper end of a 0.1 % wide bucket: one that holds a bound counts as below it.
            let lower = edge - edge / 1024;
            let at = BOUNDS_US.partition_point(|bound| *bound < lower);
            if let Some(bucket) = series.buckets.get_mut(at) {
                *bucket += count;
            }
        }
    }
}

/// What is shown of a service beside the counters.
pub(crate) struct Gauges {
    pub(crate) service: String,
    pub(crate) weight: u8,
    pub(crate) connections: u64,
    /// (track, release, requests under way, restarts).
    pub(crate) versions: Vec<(Track, String, u64, u64)>,
}

/// The page.
pub(crate) fn render(series: &Series, gauges: &[Gauges], epoch: u64) -> String {
    let mut page = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &mut dyn FnMut(&mut String)| {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        samples(&mut page);
    };
    let labels = |(service, track, release): &(String, &'static str, String)| {
        format!("service=\"{}\",version=\"{track}\",release=\"{}\"", escape(service), escape(release))
    };
    family(
        "deliveryos_requests_total",
        "counter",
        "Requests ended, by class of the status sent to the client.",
        &mut |page| {
            for (key, series) in &series.all {
                for (class, count) in series.counts.classes.iter().enumerate() {
                    let _ = writeln!(
                        page,
                        "deliveryos_requests_total{{{},code_class=\"{}xx\"}} {count}",
                        labels(key),
                        class + 1
                    );
                }
            }
        },
    );
    type Pick = fn(&Counts) -> u64;
    let counters: [(&str, &str, Pick); 8] = [
        (
            "deliveryos_request_errors_total",
            "Requests failed: 5xx of the version, upstream failures and time-outs.",
            |counts| counts.errors,
        ),
        (
            "deliveryos_upstream_failures_total",
            "Requests failed because the version could not be reached or broke off.",
            |counts| counts.upstream_failures,
        ),
        (
            "deliveryos_upstream_timeouts_total",
            "Requests failed because the version did not answer in time.",
            |counts| counts.timeouts,
        ),
        ("deliveryos_client_aborts_total", "Requests that the client gave up.", |counts| counts.client_aborts),
        ("deliveryos_requests_cut_total", "Requests cut at the drain limit.", |counts| counts.cut),
        ("deliveryos_requests_started_total", "Requests sent on.", |counts| counts.started),
        ("deliveryos_request_bytes_total", "Bytes of request bodies sent on.", |counts| counts.bytes_in),
        ("deliveryos_response_bytes_total", "Bytes of answers' bodies.", |counts| counts.bytes_out),
    ];
    for (name, help, pick) in counters {
        family(name, "counter", help, &mut |page| {
            for (key, series) in &series.all {
                let _ = writeln!(page, "{name}{{{}}} {}", labels(key), pick(&series.counts));
            }
        });
    }
    family(
        "deliveryos_request_duration_seconds",
        "histogram",
        "From a request's head to the last byte of its answer.",
        &mut |page| {
            for (key, series) in &series.all {
                let mut sum = 0;
                for (bound, count) in BOUNDS_US.iter().zip(series.buckets) {
                    sum += count;
                    let _ = writeln!(
                        page,
                        "deliveryos_request_duration_seconds_bucket{{{},le=\"{}\"}} {sum}",
                        labels(key),
                        *bound as f64 / 1e6
                    );
                }
                let count = series.counts.n;
                let _ =
                    writeln!(page, "deliveryos_request_duration_seconds_bucket{{{},le=\"+Inf\"}} {count}", labels(key));
                let _ = writeln!(
                    page,
                    "deliveryos_request_duration_seconds_sum{{{}}} {}",
                    labels(key),
                    series.counts.sum_us as f64 / 1e6
                );
                let _ = writeln!(page, "deliveryos_request_duration_seconds_count{{{}}} {count}", labels(key));
            }
        },
    );
    let version =
        |service: &str, track: Track, release: &str| labels(&(service.to_owned(), track.as_str(), release.to_owned()));
    family("deliveryos_requests_in_flight", "gauge", "Requests under way.", &mut |page| {
        for (service, track, release, in_flight) in distinct(gauges, |version| version.2) {
            let _ = writeln!(page, "deliveryos_requests_in_flight{{{}}} {in_flight}", version(service, track, release));
        }
    });
    family(
        "deliveryos_version_restarts_total",
        "counter",
        "Times a version's process was started again.",
        &mut |page| {
            for (service, track, release, restarts) in distinct(gauges, |version| version.3) {
                let _ = writeln!(
                    page,
                    "deliveryos_version_restarts_total{{{}}} {restarts}",
                    version(service, track, release)
                );
            }
        },
    );
    family("deliveryos_weight", "gauge", "Percent of requests sent to the canary.", &mut |page| {
        for gauge in gauges {
            let _ = writeln!(page, "deliveryos_weight{{service=\"{}\"}} {}", escape(&gauge.service), gauge.weight);
        }
    });
    family("deliveryos_client_connections", "gauge", "Client connections open.", &mut |page| {
        for gauge in gauges {
            let _ = writeln!(
                page,
                "deliveryos_client_connections{{service=\"{}\"}} {}",
                escape(&gauge.service),
                gauge.connections
            );
        }
    });
    family("deliveryos_epoch", "gauge", "Controller epoch in force.", &mut |page| {
        let _ = writeln!(page, "deliveryos_epoch {epoch}");
    });
    page
}

/// One number per label set: a draining version may carry the labels of the one that took its place.
fn distinct(gauges: &[Gauges], pick: impl Fn(&(Track, String, u64, u64)) -> u64) -> Vec<(&str, Track, &str, u64)> {
    let mut sums: Vec<(&str, Track, &str, u64)> = Vec::new();
    for gauge in gauges {
        for version in &gauge.versions {
            let (service, track, release) = (gauge.service.as_str(), version.0, version.1.as_str());
            match sums.iter_mut().find(|sum| (sum.0, sum.1, sum.2) == (service, track, release)) {
                Some(sum) => sum.3 += pick(version),
                None => sums.push((service, track, release, pick(version))),
            }
        }
    }
    sums
}

/// A label's value.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Serves `/metrics` until the task is dropped.
pub(crate) async fn serve(engine: Rc<Engine>, listener: TcpListener) {
    let permits = Rc::new(Semaphore::new(MAX_SCRAPES));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let (engine, permits) = (Rc::clone(&engine), Rc::clone(&permits));
        tokio::task::spawn_local(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let response = answer(&engine, &request);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            // hyper's header limit of 30 s also ends idle connections.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

fn answer(engine: &Engine, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            render(&engine.series.borrow(), &engine.gauges(), engine.hello().epoch),
        ),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "see /metrics\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Outcome, WorkerStats};

    #[test]
    fn the_page_is_cumulative_and_escaped() {
        let mut stats = WorkerStats::new();
        for latency in [400, 900, 5_000, 70_000_000] {
            stats.settle(Outcome::Answered(200), latency);
        }
        stats.settle(Outcome::Failed(502), 10);
        let mut series = Series::default();
        series.add("shop", Track::Canary, "v\"2\\", &stats.take(1).unwrap());
        let gauges = [Gauges {
            service: "shop".into(),
            weight: 5,
            connections: 3,
            versions: vec![(Track::Canary, "v2".into(), 1, 0), (Track::Canary, "v2".into(), 2, 1)],
        }];
        let page = render(&series, &gauges, 7);
        let has = |line: &str| assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        let labels = r#"service="shop",version="canary",release="v\"2\\""#;
        has(&format!("deliveryos_requests_total{{{labels},code_class=\"2xx\"}} 4"));
        has(&format!("deliveryos_requests_total{{{labels},code_class=\"5xx\"}} 1"));
        has(&format!("deliveryos_request_duration_seconds_bucket{{{labels},le=\"0.0005\"}} 2"));
        has(&format!("deliveryos_request_duration_seconds_bucket{{{labels},le=\"0.001\"}} 3"));
        has(&format!("deliveryos_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 4"));
        has(&format!("deliveryos_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 5"));
        has(&format!("deliveryos_request_duration_seconds_count{{{labels}}} 5"));
        has("deliveryos_weight{service=\"shop\"} 5");
        has("deliveryos_requests_in_flight{service=\"shop\",version=\"canary\",release=\"v2\"} 3");
        has("deliveryos_epoch 7");
        let samples: Vec<&str> =
            page.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let distinct: std::collections::HashSet<_> = samples.iter().collect();
        assert_eq!(distinct.len(), samples.len(), "a series appears twice");
    }

    #[test]
    fn series_are_bounded() {
        let mut series = Series::default();
        for release in 0..MAX_SERIES + 50 {
            let mut stats = WorkerStats::new();
            stats.settle(Outcome::Answered(200), 1);
            series.add("s", Track::Stable, &release.to_string(), &stats.take(1).unwrap());
        }
        assert_eq!(series.all.len(), MAX_SERIES);
        assert!(series.all.contains_key(&("s".into(), "stable", (MAX_SERIES + 49).to_string())));
    }
}
