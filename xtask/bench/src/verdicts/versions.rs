//! The versions behind the splitter, inside this program: each answers after a lognormal time, and does on demand what a faulty one does.
//!
//! They run on a thread of their own. Health checks are answered at once, always well, and are not counted.

use crate::recovery::clock;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const HEALTH: &str = "/healthz";
const HEALTH_LINE: &[u8] = b"GET /healthz ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// The splitter's own heads are some hundred bytes; more without an end is not from it.
const MAX_HEAD: usize = 64 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
const BAD: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbad\n";
/// Median of the time to an answer, and the deviation of its logarithm: p99 is 40 ms, far above the timer's millisecond.
const MEDIAN_MS: f64 = 20.0;
const SIGMA: f64 = 0.3;

/// Numbers of the faults beyond "so many of a thousand": slower by so many percent from here on, and closing.
const SLOW: u64 = 2_000;
const CLOSES: u64 = 4_000;

/// What is wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// So many of a thousand answers are 500.
    Errors(u64),
    /// Every answer takes longer, by so many percent: p99 does too.
    Slow(u64),
    /// Half of the requests end with a closed connection instead of an answer.
    Closes,
}

impl Fault {
    /// As one number, so that it can change while requests run.
    fn code(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Errors(per_mille) => per_mille.min(1_000),
            Self::Slow(percent) => SLOW + percent.min(1_000),
            Self::Closes => CLOSES,
        }
    }
}

/// One version and what it saw. Times are µs of the monotonic clock, 0 = never.
#[derive(Debug, Default)]
pub(super) struct Version {
    requests: AtomicU64,
    last_arrival: AtomicU64,
    first_harm: AtomicU64,
    fault: AtomicU64,
}

impl Version {
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// When the last request had arrived whole.
    pub(super) fn last_arrival(&self) -> u64 {
        self.last_arrival.load(Ordering::SeqCst)
    }

    /// When the first harmed response was sent since [`Self::behave`].
    pub(super) fn first_harm(&self) -> Option<u64> {
        Some(self.first_harm.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    /// From now on it has this fault; what was harmed before is forgotten.
    pub(super) fn behave(&self, fault: Fault) {
        self.fault.store(fault.code(), Ordering::SeqCst);
        self.first_harm.store(0, Ordering::SeqCst);
    }

    fn harmed(&self) {
        // Only the first one counts.
        let _ = self.first_harm.compare_exchange(0, clock::monotonic_us(), Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Starts so many.
pub(super) fn start(count: usize) -> Result<Vec<(SocketAddr, Arc<Version>)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut versions, mut listeners) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let version = Arc::new(Version::default());
        versions.push((listener.local_addr()?, version.clone()));
        listeners.push((listener, version));
    }
    std::thread::spawn(move || {
        runtime.block_on(async move {
            for (listener, version) in listeners {
                tokio::spawn(serve(listener, version));
            }
            std::future::pending::<()>().await;
        });
    });
    Ok(versions)
}

async fn serve(listener: TcpListener, version: Arc<Version>) {
    while let Ok((stream, _)) = listener.accept().await {
        let version = version.clone();
        tokio::spawn(async move {
            // The splitter closed an idle connection: nothing to tell anybody.
            let _ = answer(stream, &version).await;
        });
    }
}

/// Requests have no body here and come one after the other, so each end of a head is one request.
async fn answer(mut stream: TcpStream, version: &Version) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4 * 1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Ok(());
        }
        while let Some(at) = head.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            let arrived = clock::monotonic_us();
            let counted = !head.starts_with(HEALTH_LINE);
            head.drain(..at + END_OF_HEAD.len());
            if !counted {
                stream.write_all(OK).await?;
                continue;
            }
            let number = version.requests.fetch_add(1, Ordering::SeqCst);
            version.last_arrival.fetch_max(arrived, Ordering::SeqCst);
            let fault = version.fault.load(Ordering::SeqCst);
            let is_slow = (SLOW..CLOSES).contains(&fault);
            let longer = if is_slow { 1.0 + (fault - SLOW) as f64 / 100.0 } else { 1.0 };
            tokio::time::sleep(takes(number).mul_f64(longer)).await;
            let chosen = clock::scatter(number) % 1_000;
            if fault == CLOSES && chosen < 500 {
                version.harmed();
                return Ok(());
            }
            let fails = fault <= 1_000 && chosen < fault;
            if fails || is_slow {
                version.harmed();
            }
            stream.write_all(if fails { BAD } else { OK }).await?;
        }
    }
}

/// Time until the answer to this request: lognormal, the same for the same number.
fn takes(number: u64) -> Duration {
    let unit = |salt: u64| (clock::scatter(number ^ salt) >> 11) as f64 / (1_u64 << 53) as f64;
    let (a, b) = (unit(0x5851_f42d_4c95_7f2d).max(1e-12), unit(0x1405_7b7e_f767_814f));
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    Duration::from_secs_f64(MEDIAN_MS * (SIGMA * normal).exp() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_what_they_should() {
        let mut ms: Vec<f64> = (0..20_000).map(|n| takes(n).as_secs_f64() * 1_000.0).collect();
        ms.sort_by(f64::total_cmp);
        assert!((ms[10_000] / MEDIAN_MS - 1.0).abs() < 0.03, "{}", ms[10_000]);
        assert!((ms[19_800] / (MEDIAN_MS * (SIGMA * 2.326).exp()) - 1.0).abs() < 0.05, "{}", ms[19_800]);
    }
}
