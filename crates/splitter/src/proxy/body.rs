//! Bodies that stream through, counted and limited.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::flight::{Flight, Phase, Stop, Trip};
use super::pool::{Pool, Sender};
use super::serve::UnderWay;

/// Why a body ends early. Neither side is told more than that the connection breaks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the transfer was stopped: {0:?}")]
    Stopped(Stop),
    #[error("the transfer broke off")]
    Broke(#[from] hyper::Error),
}

/// True when a body was read that breaks its coding's rules, false when it only ended too soon.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput);
        }
        cause = found.source();
    }
    false
}

/// A request's body on its way to the version.
pub(crate) struct Upload {
    inner: Incoming,
    /// `None` without a body.
    flight: Option<Rc<Flight>>,
    left: u64,
}

impl Upload {
    /// `limit`: most bytes.
    pub(crate) fn new(inner: Incoming, flight: &Rc<Flight>, limit: Option<u64>) -> Self {
        let flight = (!inner.is_end_stream()).then(|| Rc::clone(flight));
        Self { inner, flight, left: limit.unwrap_or(u64::MAX) }
    }

    /// True when there is something to send.
    pub(crate) fn is_some(&self) -> bool {
        self.flight.is_some()
    }

    fn ended(flight: &Flight) {
        if flight.phase.get() == Phase::Uploading {
            flight.client_to_move.set(false);
            flight.enter(Phase::Waiting);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(flight) = &this.flight else { return Poll::Ready(None) };
        if let Some(stop) = flight.stopped() {
            return Poll::Ready(Some(Err(BodyError::Stopped(stop))));
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                // Once the answer streams, it is the answer that says whose move it is.
                if flight.phase.get() == Phase::Uploading {
                    flight.client_to_move.set(true);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                if flight.phase.get() == Phase::Uploading {
                    flight.client_to_move.set(false);
                }
                flight.touch();
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                flight.add_bytes_in(bytes);
                match this.left.checked_sub(bytes as u64) {
                    Some(left) => this.left = left,
                    None => {
                        flight.stop(Stop::TooLarge);
                        return Poll::Ready(Some(Err(BodyError::Stopped(Stop::TooLarge))));
                    }
                }
                if this.inner.is_end_stream() {
                    Self::ended(flight);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                flight.stop(if is_malformed(&error) { Stop::Malformed } else { Stop::ClientBroke });
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                Self::ended(flight);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.flight.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.flight.is_none() { SizeHint::with_exact(0) } else { self.inner.size_hint() }
    }
}

/// The body of what the client is sent.
pub(crate) struct Answer {
    content: Content,
    /// Keeps the request counted as under way on the client's connection.
    pub(crate) under_way: Option<UnderWay>,
}

#[allow(clippy::large_enum_variant)] // the large one is the common one
enum Content {
    Own(Option<Bytes>),
    Version(Download),
}

impl Answer {
    /// The splitter's own words.
    pub(crate) fn own(words: Option<Bytes>) -> Self {
        Self { content: Content::Own(words), under_way: None }
    }

    /// The version's.
    pub(crate) fn version(download: Download) -> Self {
        Self { content: Content::Version(download), under_way: None }
    }
}

/// A version's answer on its way to the client.
pub(crate) struct Download {
    inner: Incoming,
    trip: Trip,
    /// Goes back to the pool when the answer is whole.
    lease: Option<(Rc<Pool>, Sender)>,
}

impl Download {
    pub(crate) fn new(inner: Incoming, trip: Trip, pool: Rc<Pool>, sender: Sender) -> Self {
        let mut download = Self { inner, trip, lease: Some((pool, sender)) };
        // Nobody polls a body that is empty from the start.
        if download.inner.is_end_stream() {
            download.whole();
        }
        download
    }

    fn whole(&mut self) {
        self.trip.complete();
        if let Some((pool, sender)) = self.lease.take() {
            pool.give_back(sender);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(stop) = self.trip.stopped() {
            return Poll::Ready(Some(Err(BodyError::Stopped(stop))));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => {
                self.trip.client_to_move.set(false);
                self.trip.register(cx);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                // Whoever is sent something has the next move: the version is read again when the client has taken it.
                self.trip.client_to_move.set(true);
                self.trip.touch();
                self.trip.add_bytes_out(frame.data_ref().map_or(0, Bytes::len));
                if self.inner.is_end_stream() {
                    self.whole();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.trip.broke_off();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.whole();
                Poll::Ready(None)
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            Content::Own(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            Content::Version(download) => download.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(words) => words.is_none(),
            Content::Version(download) => download.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(words) => SizeHint::with_exact(words.as_ref().map_or(0, |words| words.len() as u64)),
            Content::Version(download) => download.inner.size_hint(),
        }
    }
}
