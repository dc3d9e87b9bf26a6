//! The service: answers every path after a log-normal pause, with a share of 503s.
//!
//! `/healthz` answers 200 at once. Every other path answers `200` and one line of text naming the version, or `503`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::TcpListener;

use crate::random::Random;

/// How the service behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Version named in the answers.
    pub version: String,
    /// Median latency, ms; 0 answers at once.
    pub median_ms: f64,
    /// Sigma of the logarithm of the latency; the 99th percentile is `median · exp(2.33 σ)`.
    pub sigma: f64,
    /// Share of answers that are 503, 0 to 1.
    pub error_rate: f64,
    /// Seed of latencies and errors.
    pub seed: u64,
}

/// Latencies are cut here: a demo must not look hung.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Requests under way when told to stop are given so long.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a behaviour or an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A rate or a time out of its range.
    #[error("{0}")]
    Behaviour(&'static str),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

impl Behaviour {
    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), ServiceError> {
        if !(self.median_ms.is_finite() && (0.0..=5_000.0).contains(&self.median_ms)) {
            return Err(ServiceError::Behaviour("the median latency is 0 to 5000 ms"));
        }
        if !(self.sigma.is_finite() && (0.0..=3.0).contains(&self.sigma)) {
            return Err(ServiceError::Behaviour("sigma is 0 to 3"));
        }
        if !(self.error_rate.is_finite() && (0.0..=1.0).contains(&self.error_rate)) {
            return Err(ServiceError::Behaviour("the error rate is 0 to 1"));
        }
        Ok(())
    }
}

/// Serves until `stop` ends, then lets requests under way finish.
pub async fn serve(addr: SocketAddr, behaviour: Behaviour, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
    behaviour.check()?;
    let listener = TcpListener::bind(addr).await.map_err(|e| ServiceError::Listen(addr, e))?;
    serve_on(listener, behaviour, stop).await;
    Ok(())
}

/// The same on a listener that is there already.
pub async fn serve_on(listener: TcpListener, behaviour: Behaviour, stop: impl Future<Output = ()>) {
    let shared =
        Arc::new(Shared { random: Mutex::new(Random::new(behaviour.seed)), behaviour, served: AtomicU64::new(0) });
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to close rather than spin.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(120));
        let connection = builder
            .serve_connection(TokioIo::new(stream), service_fn(move |request| answer(shared.clone(), request)))
            .into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is no event.
            let _ = watched.await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

struct Shared {
    behaviour: Behaviour,
    random: Mutex<Random>,
    served: AtomicU64,
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/healthz" {
        return Ok(text(StatusCode::OK, "ok\n".to_owned(), &shared.behaviour.version));
    }
    let (pause, failed) = {
        let mut random = shared.random.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = shared.behaviour.median_ms * (shared.behaviour.sigma * random.normal()).exp();
        (pause, random.unit() < shared.behaviour.error_rate)
    };
    if shared.behaviour.median_ms > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64((pause / 1e3).clamp(0.0, MAX_PAUSE.as_secs_f64()))).await;
    }
    let n = shared.served.fetch_add(1, Ordering::Relaxed) + 1;
    let version = &shared.behaviour.version;
    Ok(if failed {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("{version} failed on purpose, request {n}\n"), version)
    } else {
        text(StatusCode::OK, format!("{version} says hello, request {n}\n"), version)
    })
}

fn text(status: StatusCode, body: String, version: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(value) = header::HeaderValue::from_str(version) {
        response.headers_mut().insert("x-version", value);
    }
    response
}
