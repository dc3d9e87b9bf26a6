//! Is a version ready?

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::proxy::LocalExec;
use crate::route::{Target, Version};
use crate::spec::{Health, Protocol};
use std::sync::atomic::Ordering;

/// One check: `Ok` when ready, otherwise why not.
pub(crate) async fn check(version: &Version, health: &Health) -> Result<(), String> {
    let limit = Duration::from_millis(health.timeout_ms);
    match tokio::time::timeout(limit, ask(version, health)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("the health check was not answered within {} ms", health.timeout_ms)),
    }
}

async fn ask(version: &Version, health: &Health) -> Result<(), String> {
    let stream = match &version.target {
        Target::Local(port) => TcpStream::connect(("127.0.0.1", port.load(Ordering::Relaxed))).await,
        Target::Remote { host, port, .. } => TcpStream::connect((host.as_str(), *port)).await,
    }
    .map_err(|error| format!("connecting for the health check failed: {error}"))?;
    let Some(path) = &health.path else { return Ok(()) };
    let broke = |error: &dyn std::fmt::Display| format!("the health check broke off: {error}");
    let io = TokioIo::new(stream);
    let authority = version.target_text();
    let request = Request::builder().header(header::USER_AGENT, "deliveryos-splitter");
    let status = match version.protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await.map_err(|error| broke(&error))?;
            let request = request
                .uri(path)
                .header(header::HOST, authority)
                .body(Empty::<Bytes>::new())
                .map_err(|error| broke(&error))?;
            let answer = sender.send_request(request);
            let task = tokio::task::spawn_local(connection);
            let answer = answer.await;
            task.abort();
            answer
        }
        Protocol::H2c => {
            let (mut sender, connection) = http2::handshake(LocalExec, io).await.map_err(|error| broke(&error))?;
            let request = request
                .uri(format!("http://{authority}{path}"))
                .body(Empty::<Bytes>::new())
                .map_err(|error| broke(&error))?;
            let answer = sender.send_request(request);
            let task = tokio::task::spawn_local(connection);
            let answer = answer.await;
            task.abort();
            answer
        }
    }
    .map_err(|error| broke(&error))?
    .status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("the health check was answered {}", status.as_u16()))
    }
}
