//! Listening sockets: one per address, accepted on a thread of its own and handed to the worker with the fewest connections.
//!
//! One socket, not one per worker with `SO_REUSEPORT`: connections spread evenly by count instead of by hash, none is lost in
//! a closed worker's queue, a second splitter on the same port is refused by the kernel instead of silently taking half of
//! the traffic, and the socket can be passed to a successor with its queue. Accepting elsewhere costs one hand-over per
//! connection and nothing per request.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::route::Service;
use crate::worker::{Handle, Message};

/// Connections that wait in the kernel while none is accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 1024;

/// Pause after an accept that failed for want of descriptors or memory: trying at once again would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A listening socket in use.
#[derive(Debug)]
pub(crate) struct Listener {
    /// As configured; port 0 = any.
    pub(crate) asked: SocketAddr,
    /// As bound.
    pub(crate) actual: SocketAddr,
    /// The socket itself, for a successor.
    pub(crate) socket: OwnedFd,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    /// The same, configured as another address: port 0 that became a certain one.
    pub(crate) fn asked_as(mut self, asked: SocketAddr) -> Self {
        self.asked = asked;
        self
    }

    /// Stops accepting. When the task has ended, every connection that it accepted is counted at a worker: whoever ends the
    /// workers before would reset it.
    pub(crate) fn stop(mut self) -> Option<JoinHandle<()>> {
        self.stop.cancel();
        self.task.take()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on an address and accepts for a service until the value is dropped.
pub(crate) fn listen(
    runtime: &tokio::runtime::Handle,
    asked: SocketAddr,
    service: &Arc<Service>,
    workers: &Arc<[Handle]>,
) -> std::io::Result<Listener> {
    let _context = runtime.enter();
    let socket = if asked.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(asked)?;
    adopt(runtime, asked, socket.listen(BACKLOG)?, service, workers)
}

/// Accepts on a socket that a predecessor has passed on.
pub(crate) fn listen_on(
    runtime: &tokio::runtime::Handle,
    asked: SocketAddr,
    socket: OwnedFd,
    service: &Arc<Service>,
    workers: &Arc<[Handle]>,
) -> std::io::Result<Listener> {
    let _context = runtime.enter();
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    adopt(runtime, asked, TcpListener::from_std(listener)?, service, workers)
}

fn adopt(
    runtime: &tokio::runtime::Handle,
    asked: SocketAddr,
    listener: TcpListener,
    service: &Arc<Service>,
    workers: &Arc<[Handle]>,
) -> std::io::Result<Listener> {
    let actual = listener.local_addr()?;
    let socket = listener.as_fd().try_clone_to_owned()?;
    let stop = CancellationToken::new();
    let task = runtime.spawn(accept(listener, actual, Arc::clone(service), Arc::clone(workers), stop.clone()));
    Ok(Listener { asked, actual, socket, stop, task: Some(task) })
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<Service>,
    workers: Arc<[Handle]>,
    stop: CancellationToken,
) {
    let mut failing = false;
    let mut last = 0;
    loop {
        let permits = Arc::clone(&service.permits);
        let permit = tokio::select! {
            biased;
            permit = permits.acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => {
                // Clients that the kernel has already accepted for us are served, not reset. Not more than its queue holds: others
                // go on coming, and a successor takes them.
                if last == BACKLOG {
                    break;
                }
                last += 1;
                match listener.accept().now_or_never() {
                    Some(accepted) => accepted,
                    None => break,
                }
            }
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                failing = false;
                let least = workers
                    .iter()
                    .filter(|worker| worker.alive.load(Ordering::Acquire))
                    .min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
                if let Some(worker) = least {
                    worker.connections.fetch_add(1, Ordering::Relaxed);
                    // Fails only when the worker ends; the client sees a closed connection, as it would a moment later.
                    let _ =
                        worker.sender.send(Message::Connection { stream, peer, service: Arc::clone(&service), permit });
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::error!(%address, %error, "connections cannot be accepted");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// True for errors of one connection that ended before it was accepted.
fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
