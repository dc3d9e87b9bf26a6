//! What the tests of this crate start as processes: `machine splitter STATE_DIR` and `machine backend PORT NAME`.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["splitter", dir] => {
            let options = splitter::Options { state_dir: dir.into(), workers: 1, metrics_listen: None, detach: true };
            Ok(splitter::run(options)?)
        }
        ["backend", port, name] => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(backend(port.parse()?, name))
        }
        _ => bail!("splitter STATE_DIR, or backend PORT NAME"),
    }
}

/// Answers every request with its name.
async fn backend(port: u16, name: &str) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.context("the port is taken")?;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
    loop {
        let (mut stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}
