//! The service behind the proxies: answers as fast as a socket allows, so that the proxy is what is measured.

use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A version: where it listens, and how many requests it had.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
}

/// Starts `count` versions on one thread of their own.
pub(crate) fn start(count: usize) -> Result<Vec<Backend>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut backends = Vec::new();
    let mut listeners = Vec::new();
    for _ in 0..count {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let requests = Arc::new(AtomicU64::new(0));
        backends.push(Backend { address: listener.local_addr()?, requests: requests.clone() });
        listeners.push((listener, requests));
    }
    std::thread::spawn(move || {
        runtime.block_on(async move {
            for (listener, requests) in listeners {
                tokio::spawn(serve(listener, requests));
            }
            std::future::pending::<()>().await;
        });
    });
    Ok(backends)
}

async fn serve(listener: TcpListener, requests: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = requests.clone();
        tokio::spawn(async move {
            // The client went away: nothing to tell anybody.
            let _ = answer(stream, &requests).await;
        });
    }
}

/// Requests have no body here, so each end of a head is one request.
async fn answer(mut stream: TcpStream, requests: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(16 * 1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        let mut answers = Vec::new();
        while let Some(at) = head.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            head.drain(..at + END_OF_HEAD.len());
            answers.extend_from_slice(ANSWER);
            requests.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(&answers).await?;
    }
}
