//! One client connection: which protocol it speaks, and when it ends.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use http::header::{CONNECTION, HeaderValue};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Context, LocalExec, handle, headers};
use crate::route::Service;
use crate::worker::Worker;

/// First bytes of HTTP/2 without TLS; no HTTP/1 method begins with them (RFC 9113 section 3.4 reserves `PRI`).
const HTTP2_START: &[u8] = b"PRI";

/// hyper keeps room for this many header lines on the stack; another number costs an allocation per request.
const HEADERS_ON_STACK: usize = 100;

/// hyper's smallest read buffer. Its default of some 400 KiB is larger than any head that `Limits` allows by default.
const LARGE_HEAD: usize = 400 * 1024;

/// When connections are being closed, one without a request for so long is closed without a last answer: clients under load
/// send again within it, and an upgrade need not wait longer for the others.
const QUIET_MS: u64 = 1_000;

/// What the sweep knows of a client connection.
pub(crate) struct Connection {
    times: Arc<ConnectionTimes>,
    /// HTTP/2 frames that are no request arrive at any time: only HTTP/1 heads are timed.
    http2: Cell<bool>,
    head_ms: u64,
    keep_alive_ms: u64,
    service: Arc<Service>,
    /// The next answer is the last on this connection, and says so.
    last: Cell<bool>,
    end: Cell<Option<End>>,
    waker: RefCell<Option<Waker>>,
}

/// Times on the worker's coarse clock, ms. Atomic only because an upgraded connection must be `Send`; one thread uses it.
#[derive(Debug)]
struct ConnectionTimes {
    now_ms: Arc<AtomicU64>,
    /// Requests under way.
    requests: AtomicU64,
    /// When the first byte of a head that is not whole came; 0 = none.
    head_since: AtomicU64,
    /// When the last request ended, or the connection began.
    idle_since: AtomicU64,
}

/// How a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After the requests under way.
    Gracefully,
    /// Now.
    AtOnce,
}

impl Connection {
    /// Called by the sweep.
    pub(crate) fn sweep(&self, now_ms: u64, closing: bool) {
        let times = &self.times;
        let head_since = times.head_since.load(Ordering::Relaxed);
        if !self.http2.get() && head_since > 0 && now_ms >= head_since + self.head_ms {
            self.end(End::AtOnce);
        } else if closing || self.service.closing.load(Ordering::Relaxed) {
            // HTTP/2 has a word for "no new requests" (GOAWAY). In HTTP/1 a client may be sending its next request on a connection
            // that is closed just then, so it is told with an answer; only one that has nothing to say is closed without.
            self.last.set(true);
            if self.http2.get() || self.is_idle(now_ms, QUIET_MS) {
                self.end(End::Gracefully);
            }
        } else if self.is_idle(now_ms, self.keep_alive_ms) {
            self.end(End::Gracefully);
        }
    }

    fn is_idle(&self, now_ms: u64, for_ms: u64) -> bool {
        let times = &self.times;
        times.requests.load(Ordering::Relaxed) == 0
            && (self.http2.get() || times.head_since.load(Ordering::Relaxed) == 0)
            && now_ms >= times.idle_since.load(Ordering::Relaxed) + for_ms
    }

    fn end(&self, how: End) {
        self.end.set(Some(how));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, service: Arc<Service>, stream: std::net::TcpStream, peer: SocketAddr) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // Without it small answers wait for the client's acknowledgement; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let route = service.route.load_full();
    let limits = &route.limits;

    let Ok(Some(http2)) = tokio::time::timeout(Duration::from_millis(limits.head_ms), speaks_http2(&stream)).await
    else {
        return;
    };
    let now_ms = worker.now_ms();
    let times = Arc::new(ConnectionTimes {
        now_ms: worker.coarse_clock(),
        requests: AtomicU64::new(0),
        head_since: AtomicU64::new(0),
        idle_since: AtomicU64::new(now_ms),
    });
    let connection = Rc::new(Connection {
        times: Arc::clone(&times),
        http2: Cell::new(http2),
        head_ms: limits.head_ms,
        keep_alive_ms: limits.keep_alive_ms,
        service: Arc::clone(&service),
        last: Cell::new(false),
        end: Cell::new(None),
        waker: RefCell::new(None),
    });
    let slot = worker.connections.borrow_mut().insert(Rc::clone(&connection));
    let context = Rc::new(Context {
        cache: worker.cache(&service),
        worker: Rc::clone(&worker),
        service: Arc::clone(&service),
        client: headers::client_value(peer.ip()),
    });
    let io = Watched { io: TokioIo::new(stream), times: Arc::clone(&times) };
    let state = Rc::clone(&connection);
    let requests = hyper::service::service_fn(move |request| {
        let under_way = UnderWay::begin(&times);
        let (context, state) = (Rc::clone(&context), Rc::clone(&state));
        async move {
            let mut answer = handle(context, request).await?;
            // An upgraded connection speaks of itself in this header.
            if state.last.get() && !http2 && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer.body_mut().under_way = Some(under_way);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    if http2 {
        let mut builder = http2::Builder::new(LocalExec);
        builder
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
        drop(route);
        drive(&connection, builder.serve_connection(io, requests), |c| c.graceful_shutdown()).await;
    } else {
        let mut builder = http1::Builder::new();
        // The sweep times heads; hyper would set a timer per request.
        builder.header_read_timeout(None).max_header_size(limits.head_bytes);
        if limits.headers != HEADERS_ON_STACK {
            builder.max_headers(limits.headers);
        }
        if limits.head_bytes > LARGE_HEAD {
            builder.max_buf_size(limits.head_bytes);
        }
        drop(route);
        drive(&connection, builder.serve_connection(io, requests).with_upgrades(), |c| c.graceful_shutdown()).await;
    }
    worker.connections.borrow_mut().remove(slot);
}

/// Drives a connection to its end; a client's protocol error ends it and is nobody else's business.
async fn drive<C>(connection: &Connection, served: C, graceful: impl Fn(Pin<&mut C>))
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut served = std::pin::pin!(served);
    std::future::poll_fn(|cx| {
        match connection.end.take() {
            Some(End::AtOnce) => return Poll::Ready(()),
            Some(End::Gracefully) => graceful(served.as_mut()),
            None => {}
        }
        if connection.waker.borrow().as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *connection.waker.borrow_mut() = Some(cx.waker().clone());
        }
        served.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// Looks at the first bytes without taking them. `None` when the client has gone.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut start = [0u8; HTTP2_START.len()];
    loop {
        let read = stream.peek(&mut start).await.ok()?;
        let seen = start.get(..read)?;
        if seen.is_empty() {
            return None;
        }
        if !HTTP2_START.starts_with(seen) {
            return Some(false);
        }
        if read == HTTP2_START.len() {
            return Some(true);
        }
        // One or two bytes that may become either (`P`, `PR`): they are already readable, so only time can tell.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client's socket that notes when the first byte of a head comes.
struct Watched {
    io: TokioIo<TcpStream>,
    times: Arc<ConnectionTimes>,
}

impl hyper::rt::Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            let times = &self.times;
            if times.requests.load(Ordering::Relaxed) == 0 && times.head_since.load(Ordering::Relaxed) == 0 {
                times.head_since.store(times.now_ms.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        polled
    }
}

impl hyper::rt::Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

/// Counts a request as under way on its connection until its answer's body is dropped.
pub(crate) struct UnderWay(Arc<ConnectionTimes>);

impl UnderWay {
    fn begin(times: &Arc<ConnectionTimes>) -> Self {
        times.requests.fetch_add(1, Ordering::Relaxed);
        times.head_since.store(0, Ordering::Relaxed);
        Self(Arc::clone(times))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let times = &self.0;
        times.requests.fetch_sub(1, Ordering::Relaxed);
        times.idle_since.store(times.now_ms.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
