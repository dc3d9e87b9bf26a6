//! The canary, inside this program, so that the arrival of each of its requests is known to the microsecond.
//!
//! It runs on a thread of its own and answers at once. Health checks are answered and not counted.

use super::clock;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const HEALTH: &str = "/healthz";
const HEALTH_LINE: &[u8] = b"GET /healthz ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// The splitter's own heads are some hundred bytes; more without an end is not from it.
const MAX_HEAD: usize = 64 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
const BAD: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbad\n";

/// What the canary saw. Times are µs of the monotonic clock, 0 = never.
#[derive(Debug, Default)]
pub(super) struct Seen {
    requests: AtomicU64,
    last_arrival: AtomicU64,
    first_bad: AtomicU64,
    bad: AtomicU64,
    /// Answers of a thousand that are 500.
    bad_per_mille: AtomicU64,
}

impl Seen {
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// When the last request had arrived whole.
    pub(super) fn last_arrival(&self) -> u64 {
        self.last_arrival.load(Ordering::SeqCst)
    }

    /// When the first 500 was sent since [`Self::behave`].
    pub(super) fn first_bad(&self) -> Option<u64> {
        Some(self.first_bad.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    pub(super) fn bad(&self) -> u64 {
        self.bad.load(Ordering::SeqCst)
    }

    /// From now on so many of a thousand fail; what failed before is forgotten.
    pub(super) fn behave(&self, bad_per_mille: u64) {
        self.bad_per_mille.store(bad_per_mille, Ordering::SeqCst);
        self.bad.store(0, Ordering::SeqCst);
        self.first_bad.store(0, Ordering::SeqCst);
    }
}

/// Starts it; its address.
pub(super) fn start() -> Result<(SocketAddr, Arc<Seen>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let seen = Arc::new(Seen::default());
    let kept = seen.clone();
    std::thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    // The splitter closed an idle connection: nothing to tell anybody.
                    let _ = answer(stream, &seen).await;
                });
            }
        });
    });
    Ok((address, kept))
}

/// Requests have no body here, so each end of a head is one request.
async fn answer(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4 * 1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Ok(());
        }
        let mut answers = Vec::new();
        while let Some(at) = head.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            let arrived = clock::monotonic_us();
            let counted = !head.starts_with(HEALTH_LINE);
            head.drain(..at + END_OF_HEAD.len());
            if !counted {
                answers.extend_from_slice(OK);
                continue;
            }
            let number = seen.requests.fetch_add(1, Ordering::SeqCst);
            seen.last_arrival.fetch_max(arrived, Ordering::SeqCst);
            if clock::scatter(number) % 1000 < seen.bad_per_mille.load(Ordering::SeqCst) {
                seen.bad.fetch_add(1, Ordering::SeqCst);
                // Only the first one counts.
                let _ = seen.first_bad.compare_exchange(0, arrived, Ordering::SeqCst, Ordering::SeqCst);
                answers.extend_from_slice(BAD);
            } else {
                answers.extend_from_slice(OK);
            }
        }
        stream.write_all(&answers).await?;
    }
}
