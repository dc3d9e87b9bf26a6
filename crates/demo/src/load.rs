//! The load generator: requests arrive at random times at a constant rate, whether or not earlier ones are answered
//! (open loop), so that a slow service cannot hide its latency by slowing its clients.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::random::Random;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub target: SocketAddr,
    /// Paths, taken in turn.
    pub paths: Vec<String>,
    /// Requests a second on average.
    pub rate: f64,
    /// Seed of the arrival times.
    pub seed: u64,
}

/// Requests under way at most: beyond it arrivals are counted as `skipped` and not sent.
const MAX_IN_FLIGHT: usize = 4_096;

/// A request is given up after this long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What became of the requests so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Totals {
    /// Sent.
    pub sent: u64,
    /// Answered below 500.
    pub ok: u64,
    /// Answered 500 or above.
    pub failed: u64,
    /// Not answered: refused, broken off or timed out.
    pub lost: u64,
    /// Sent once more, on another connection: the one they were sent on ended before anything of the answer came, as when a
    /// server closes an idle connection in the same moment. Repeating is the client's part of HTTP/1.1 (RFC 9112 section 9.3.1),
    /// which browsers do too; what the second sending becomes is counted above.
    pub repeated: u64,
    /// Not sent: too many under way.
    pub skipped: u64,
    /// 99th percentile of the latency from the moment of sending, ms.
    pub p99_ms: f64,
}

/// Counters of a running generator.
#[derive(Debug)]
pub struct Counters {
    sent: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    repeated: AtomicU64,
    skipped: AtomicU64,
    latency_us: Mutex<Histogram<u64>>,
}

/// The load could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Out of range.
    #[error(
        "the rate is above 0 and at most 20000 requests a second, and there is at least one path that begins with '/'"
    )]
    Range,
    /// No histogram.
    #[error("no latency histogram could be made")]
    Histogram(#[source] hdrhistogram::CreationError),
}

impl Counters {
    fn new() -> Result<Self, LoadError> {
        // 1 µs to 60 s with 3 digits.
        let latency_us = Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 3).map_err(LoadError::Histogram)?);
        let zero = || AtomicU64::new(0);
        Ok(Self {
            sent: zero(),
            ok: zero(),
            failed: zero(),
            lost: zero(),
            repeated: zero(),
            skipped: zero(),
            latency_us,
        })
    }

    /// What became of the requests so far.
    pub fn totals(&self) -> Totals {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let p99 = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner).value_at_quantile(0.99);
        Totals {
            sent: get(&self.sent),
            ok: get(&self.ok),
            failed: get(&self.failed),
            lost: get(&self.lost),
            repeated: get(&self.repeated),
            skipped: get(&self.skipped),
            p99_ms: p99 as f64 / 1e3,
        }
    }
}

impl Load {
    /// Starts sending in the background, until the task is aborted or `stop` ends.
    pub fn start(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(Arc<Counters>, tokio::task::JoinHandle<()>), LoadError> {
        let usable = self.rate.is_finite() && self.rate > 0.0 && self.rate <= 20_000.0;
        if !usable || self.paths.is_empty() || self.paths.iter().any(|p| !p.starts_with('/')) {
            return Err(LoadError::Range);
        }
        let counters = Arc::new(Counters::new()?);
        let task = tokio::spawn({
            let counters = counters.clone();
            async move {
                tokio::select! {
                    () = stop => {}
                    () = self.send(&counters) => {}
                }
            }
        });
        Ok((counters, task))
    }

    async fn send(&self, counters: &Arc<Counters>) {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(256)
            .build(connector);
        let mut random = Random::new(self.seed);
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let mut due = tokio::time::Instant::now();
        for path in self.paths.iter().cycle() {
            due += Duration::from_secs_f64(random.exponential() / self.rate);
            tokio::time::sleep_until(due).await;
            let Ok(permit) = in_flight.clone().try_acquire_owned() else {
                counters.skipped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let Ok(uri) = format!("http://{}{path}", self.target).parse::<http::Uri>() else { continue };
            counters.sent.fetch_add(1, Ordering::Relaxed);
            let (client, counters) = (client.clone(), counters.clone());
            tokio::spawn(async move {
                let sent = Instant::now();
                let answered = tokio::time::timeout(TIMEOUT, async {
                    let response = match client.request(get(&uri)).await {
                        Err(error) if ended_before_an_answer(&error) => {
                            counters.repeated.fetch_add(1, Ordering::Relaxed);
                            client.request(get(&uri)).await
                        }
                        first => first,
                    }
                    .ok()?;
                    let status = response.status();
                    response.into_body().collect().await.ok()?;
                    Some(status)
                })
                .await;
                let counter = match answered {
                    Ok(Some(status)) if status.is_server_error() => &counters.failed,
                    Ok(Some(_)) => &counters.ok,
                    Ok(None) | Err(_) => &counters.lost,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                let us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
                counters.latency_us.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us.max(1));
                drop(permit);
            });
        }
    }
}

fn get(uri: &http::Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static("deliveryos-demo-load"));
    request
}

/// True when the connection that a request was sent on ended without a byte of the answer.
fn ended_before_an_answer(error: &hyper_util::client::legacy::Error) -> bool {
    if error.is_connect() {
        return false;
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.into_iter().any(|cause| {
        let broken = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let reset = cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
        });
        broken || reset
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::service::{Behaviour, serve_on};

    #[tokio::test]
    async fn load_meets_service() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let behaviour = Behaviour { version: "v2".into(), median_ms: 1.0, sigma: 0.3, error_rate: 0.5, seed: 1 };
        let service = tokio::spawn(serve_on(listener, behaviour, std::future::pending()));
        let load = Load { target, paths: vec!["/".into(), "/a".into()], rate: 2_000.0, seed: 2 };
        let (counters, task) = load.start(std::future::pending()).unwrap();
        // The condition: five hundred answers, of which about half failed on purpose.
        let totals = loop {
            let totals = counters.totals();
            if totals.ok + totals.failed >= 500 {
                break totals;
            }
            tokio::task::yield_now().await;
        };
        task.abort();
        service.abort();
        let share = totals.failed as f64 / (totals.ok + totals.failed) as f64;
        assert!((0.4..0.6).contains(&share), "{totals:?}");
        assert_eq!((totals.lost, totals.skipped), (0, 0));
        assert!(totals.p99_ms >= 1.0);
    }

    /// A server that closes connections under its clients' hands: each takes one request, and ends with the second.
    #[tokio::test]
    async fn what_an_ended_connection_took_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = [0; 1_024];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    let _ = stream.read(&mut head).await;
                });
            }
        });
        let load = Load { target, paths: vec!["/".into()], rate: 500.0, seed: 3 };
        let (counters, task) = load.start(std::future::pending()).unwrap();
        let totals = loop {
            let totals = counters.totals();
            if totals.repeated >= 50 {
                break totals;
            }
            tokio::task::yield_now().await;
        };
        task.abort();
        server.abort();
        // The second sending may meet another connection that ends: then it is lost, and said to be.
        assert!(totals.lost < totals.repeated && totals.ok > totals.lost, "{totals:?}");
    }

    #[tokio::test]
    async fn out_of_range_is_refused() {
        let target = "127.0.0.1:9".parse().unwrap();
        for (rate, path) in [(0.0, "/"), (f64::NAN, "/"), (1e9, "/"), (1.0, "x")] {
            let load = Load { target, paths: vec![path.into()], rate, seed: 0 };
            assert!(load.start(std::future::pending()).is_err(), "{rate} {path}");
        }
        let bad = Behaviour { version: "v".into(), median_ms: -1.0, sigma: 0.0, error_rate: 0.0, seed: 0 };
        assert!(bad.check().is_err());
    }
}
