//! The listener of the pages: limits on connections and time around the router, and an orderly end.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt as _;

use crate::{auth::Peer, exit::WrongUse};

/// Connections at once: twice the clients of the live stream; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4_096;
/// From the first byte of a request's head to its last: against clients that trickle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Most header lines; hyper's own default, stated.
const MAX_HEADERS: usize = 100;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Requests under way at the end are given so long.
const DRAIN: Duration = Duration::from_secs(10);

/// Listens, or says what is in the way and which flag changes it.
pub async fn listen(address: SocketAddr, what: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, what, flag, &error).into())
}

/// The message of an address that cannot be listened on.
pub fn cannot_listen(address: SocketAddr, what: &str, flag: &str, error: &io::Error) -> WrongUse {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "it is in use by another program".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not listen there".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    };
    WrongUse(format!("cannot listen on {address} for {what}: {why}; choose another with {flag}"))
}

/// Says now, not in a log line later, that an address is taken which somebody else is to listen on.
pub async fn free(address: SocketAddr, what: &str, flag: &str) -> Result<(), WrongUse> {
    match TcpListener::bind(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(cannot_listen(address, what, flag, &error)),
    }
}

/// Serves until `stop` ends, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = graceful.watch(connection(stream, peer, router.clone()));
                tokio::spawn(async move {
                    // A client that goes away is no event.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to close rather than spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut after {} s", DRAIN.as_secs());
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> auto::Connection<
    'static,
    TokioIo<TcpStream>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send,
    TokioExecutor,
> {
    // Events and small answers are worth a packet of their own.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(60));
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned()
}
