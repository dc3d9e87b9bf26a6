//! A thousand clients of the live stream: from an append to the last of them having it.
//!
//! Each append is the receipt of a token that is made. It is timed from the moment the request was sent, so the append itself is in the
//! number. One further client never reads.

use crate::serve::{Serving, client};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// Receive buffer of the client that never reads: small, so that the server feels it at once.
const SLOW_BUFFER: u32 = 4 * 1024;
/// Longest wait for one update to be everywhere.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data directory, as `cargo xtask seed` filled it.
    #[arg(long)]
    data: PathBuf,
    /// Clients.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_900))]
    clients: u64,
    /// Appends.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    appends: u64,
}

pub(crate) fn run(options: &Options, program: &Path) -> Result<Value> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(options, program))
}

async fn measure(options: &Options, program: &Path) -> Result<Value> {
    let serving = Serving::start(program, &options.data, "admin").await?;
    let base = format!("http://{}", serving.address);
    let http = client()?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let ask =
        format!("GET /events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n", serving.address, serving.token);
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        let mut stream = TcpStream::connect(serving.address).await?;
        stream.write_all(ask.as_bytes()).await?;
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await?;
        ensure!(head.get(..read).is_some_and(|head| head.starts_with(b"HTTP/1.1 200")), "a client was not let in");
        clients.push(tokio::spawn(follow(stream, arrived.clone())));
    }
    let slow = TcpSocket::new_v4()?;
    slow.set_recv_buffer_size(SLOW_BUFFER)?;
    let mut slow = slow.connect(serving.address).await?;
    slow.write_all(ask.as_bytes()).await?;

    let (mut last, mut durable) = (Vec::new(), Vec::new());
    for n in 0..options.appends {
        let body = json!({ "name": format!("bench-{n}"), "role": "viewer", "days": 1 });
        let url = format!("{base}/api/v1/tokens");
        let sent = Instant::now();
        let answer = http.post(url).bearer_auth(&serving.token).json(&body).send().await?;
        ensure!(answer.status() == 201, "the token was answered {}", answer.status());
        durable.push(sent.elapsed());
        let mut have = 0;
        while have < options.clients {
            let at = tokio::time::timeout(LIMIT, arrivals.recv())
                .await
                .with_context(|| format!("{have} of {} clients have update {n}", options.clients))?
                .context("the clients are gone")?;
            have += 1;
            if have == options.clients {
                last.push(Instant::duration_since(&at, sent));
            }
        }
    }
    let gone = clients.iter().filter(|client| client.is_finished()).count();
    ensure!(gone == 0, "{gone} clients lost their stream");
    last.sort();
    durable.sort();
    let ms = |all: &[Duration], share: f64| {
        let at = ((all.len() - 1) as f64 * share).ceil() as usize;
        all.get(at).map_or(0.0, |d| d.as_secs_f64() * 1000.0)
    };
    println!("{} clients, {} appends, one client that never reads", options.clients, options.appends);
    println!("append answered:         p50 {:.1} ms, max {:.1} ms", ms(&durable, 0.5), ms(&durable, 1.0));
    println!("sent to the last client: p50 {:.1} ms, max {:.1} ms", ms(&last, 0.5), ms(&last, 1.0));
    let (resident, _) = serving.memory()?;
    println!("resident: {:.0} MB", resident as f64 / 1e6);
    Ok(json!({
        "clients": options.clients, "appends": options.appends, "answered_p50_ms": ms(&durable, 0.5),
        "answered_max_ms": ms(&durable, 1.0), "last_p50_ms": ms(&last, 0.5), "last_max_ms": ms(&last, 1.0),
        "resident_bytes": resident,
    }))
}

/// Reads events and says when each receipt was there.
async fn follow(mut stream: TcpStream, arrived: mpsc::UnboundedSender<Instant>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let now = Instant::now();
        for byte in buffer.get(..read).unwrap_or_default() {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            if line.starts_with(b"id: ") {
                // Nobody listens any more when the measurement is over.
                let _ = arrived.send(now);
            }
            line.clear();
        }
    }
}
