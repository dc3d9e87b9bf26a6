//! Upgraded connections (WebSocket): bytes in both directions until one side ends, the idle limit, or the drain limit.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flight::{Flight, Trip};

/// Carries bytes between the two once both have changed protocol.
pub(crate) fn spawn(client: OnUpgrade, version: OnUpgrade, trip: Trip) {
    tokio::task::spawn_local(async move {
        let carried = trip.guarded(async {
            let (Ok(client), Ok(version)) = tokio::join!(client, version) else { return };
            let mut client = Touching { io: TokioIo::new(client), flight: Rc::clone(&trip), to_version: true };
            let mut version = Touching { io: TokioIo::new(version), flight: Rc::clone(&trip), to_version: false };
            // How it ends is the two ends' business; bytes were counted as they came.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut version).await;
        });
        let _ = carried.await;
        drop(trip);
    });
}

/// Counts what is read and starts the idle limit again.
struct Touching {
    io: TokioIo<Upgraded>,
    flight: Rc<Flight>,
    to_version: bool,
}

impl AsyncRead for Touching {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.flight.touch();
            if self.to_version { self.flight.add_bytes_in(read) } else { self.flight.add_bytes_out(read) }
        }
        polled
    }
}

impl AsyncWrite for Touching {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
