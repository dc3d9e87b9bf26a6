//! Those who watch: clients of `/events` that read, one that never does, and a metric source that never answers.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Receive buffer of the client that never reads: small, so that the server feels it at once.
const SLOW_BUFFER: u32 = 4 * 1024;

/// Clients that read everything.
pub(super) struct Watchers {
    readers: Vec<JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
    /// Open and unread for as long as this lives.
    _slow: TcpStream,
}

impl Watchers {
    /// Connects all of them and waits until each that reads has had the head of its answer.
    pub(super) async fn start(server: SocketAddr, token: &str, count: usize) -> Result<Self> {
        let ask = format!("GET /events HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {token}\r\n\r\n");
        let bytes = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(server).await.context("an /events client cannot connect")?;
            stream.write_all(ask.as_bytes()).await?;
            let mut buffer = vec![0; 16 * 1024];
            let read = stream.read(&mut buffer).await?;
            let head = buffer.get(..read).unwrap_or_default();
            anyhow::ensure!(
                head.starts_with(b"HTTP/1.1 200"),
                "/events answered {}",
                String::from_utf8_lossy(head).lines().next().unwrap_or_default()
            );
            let bytes = bytes.clone();
            readers.push(tokio::spawn(async move {
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    bytes.fetch_add(read as u64, Ordering::Relaxed);
                }
            }));
        }
        let slow = TcpSocket::new_v4()?;
        slow.set_recv_buffer_size(SLOW_BUFFER)?;
        let mut slow = slow.connect(server).await?;
        slow.write_all(ask.as_bytes()).await?;
        Ok(Self { readers, bytes, _slow: slow })
    }

    /// Readers whose stream still stands.
    pub(super) fn connected(&self) -> usize {
        self.readers.iter().filter(|reader| !reader.is_finished()).count()
    }

    /// Read by all of them so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A metric source that takes every connection, keeps it and never answers. Its address, and how many connections it holds.
pub(super) async fn hanging_source() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let held = Arc::new(AtomicU64::new(0));
    let count = held.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            kept.push(stream);
        }
    });
    Ok((address, held))
}
