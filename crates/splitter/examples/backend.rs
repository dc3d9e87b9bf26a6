//! A small HTTP service to put behind a splitter, for tests and measurements: `backend PORT NAME`. Answers `/` with its name;
//! `/pid` with its process id, `/exit` by ending, `/health` with 200.

use std::convert::Infallible;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().context("which port?")?.parse()?;
    let name = Bytes::from(arguments.next().context("which name?")?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let name = name.clone();
            tokio::task::spawn_local(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let name = name.clone();
                    async move {
                        let body = match request.uri().path() {
                            "/pid" => Bytes::from(std::process::id().to_string()),
                            "/exit" => std::process::exit(3),
                            _ => name,
                        };
                        Ok::<_, Infallible>(Response::new(Full::new(body)))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
