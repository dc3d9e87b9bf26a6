//! One worker's connections to one version.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::Upload;
use super::exec::LocalExec;
use crate::route::{Target, Version};
use crate::spec::Protocol;

/// Connections of one worker to one version: idle ones, most recently used last.
pub(crate) struct Pool {
    version: Arc<Version>,
    idle: RefCell<VecDeque<Idle>>,
    /// The one HTTP/2 connection, shared by all requests.
    shared: RefCell<Option<http2::SendRequest<Upload>>>,
    /// Connections open, in use or not.
    open: Rc<Cell<usize>>,
    /// The worker's coarse clock.
    now_ms: Arc<AtomicU64>,
}

struct Idle {
    sender: http1::SendRequest<Upload>,
    since_ms: u64,
}

/// One connection, for one request at a time (HTTP/1.1) or shared (HTTP/2).
pub(crate) enum Sender {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting failed: {0}")]
    Connect(std::io::Error),
    #[error("the handshake failed: {0}")]
    Handshake(hyper::Error),
    #[error("all connections to this version are in use")]
    Full,
    #[error("its process has not been started yet")]
    NotStarted,
}

impl Pool {
    pub(crate) fn new(version: Arc<Version>, now_ms: Arc<AtomicU64>) -> Self {
        Self { version, idle: RefCell::default(), shared: RefCell::default(), open: Rc::default(), now_ms }
    }

    /// A connection that is open already.
    pub(crate) fn take(&self) -> Option<Sender> {
        match self.version.protocol {
            Protocol::Http1 => {
                let mut idle = self.idle.borrow_mut();
                while let Some(connection) = idle.pop_back() {
                    if connection.sender.is_ready() {
                        return Some(Sender::Http1(connection.sender));
                    }
                }
                None
            }
            Protocol::H2c => {
                let mut shared = self.shared.borrow_mut();
                if shared.as_ref().is_some_and(|sender| !sender.is_ready()) {
                    *shared = None;
                }
                shared.clone().map(Sender::Http2)
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self, limit: usize) -> Result<Sender, ConnectError> {
        if self.open.get() >= limit {
            return Err(ConnectError::Full);
        }
        let open = Open::new(&self.open);
        let stream = match &self.version.target {
            Target::Local(port) => match port.load(Ordering::Relaxed) {
                0 => return Err(ConnectError::NotStarted),
                port => TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await,
            },
            Target::Remote { fixed: Some(address), .. } => TcpStream::connect(address).await,
            Target::Remote { host, port, .. } => TcpStream::connect((host.as_str(), *port)).await,
        }
        .map_err(ConnectError::Connect)?;
        stream.set_nodelay(true).map_err(ConnectError::Connect)?;
        let io = TokioIo::new(stream);
        match self.version.protocol {
            Protocol::Http1 => {
                let (sender, connection) =
                    http1::Builder::new().handshake(io).await.map_err(ConnectError::Handshake)?;
                tokio::task::spawn_local(async move {
                    // Its error is the request's error, told there.
                    let _ = connection.with_upgrades().await;
                    drop(open);
                });
                Ok(Sender::Http1(sender))
            }
            Protocol::H2c => {
                let (sender, connection) =
                    http2::Builder::new(LocalExec).handshake(io).await.map_err(ConnectError::Handshake)?;
                tokio::task::spawn_local(async move {
                    let _ = connection.await;
                    drop(open);
                });
                *self.shared.borrow_mut() = Some(sender.clone());
                Ok(Sender::Http2(sender))
            }
        }
    }

    /// Keeps a connection whose answer is whole for the next request.
    pub(crate) fn give_back(self: &Rc<Self>, sender: Sender) {
        let Sender::Http1(mut sender) = sender else { return };
        if sender.is_ready() {
            self.keep(sender);
        } else if !sender.is_closed() {
            // The connection's task has not seen the end of the exchange yet, or the upload goes on.
            let pool = Rc::clone(self);
            tokio::task::spawn_local(async move {
                if sender.ready().await.is_ok() {
                    pool.keep(sender);
                }
            });
        }
    }

    fn keep(&self, sender: http1::SendRequest<Upload>) {
        self.idle.borrow_mut().push_back(Idle { sender, since_ms: self.now_ms.load(Ordering::Relaxed) });
    }

    /// Closes connections that have not been used since `before_ms`.
    pub(crate) fn prune(&self, before_ms: u64) {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|connection| connection.since_ms < before_ms || connection.sender.is_closed()) {
            idle.pop_front();
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
