//! The live stream, `/events`: receipts as they become durable, ticks as they are counted.
//!
//! The id of an event **is** the log index, so a client that comes back says the last one it saw (`Last-Event-ID`, or `?after=`) and
//! misses none. Ticks have no id: after a gap they are read again by time.
//!
//! Everything is encoded once and shared ([`Bytes`]); a client costs a cursor. Who does not read is not waited for: it falls out
//! of the shared ring, and goes on from the log where it stopped.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use controller::Delivery;
use futures::{Stream, StreamExt as _};
use model::{ReleaseId, Tick};
use receipt_log::{Log, LoggedReceipt};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{auth, router::App};

/// Events that a client may be behind before it is sent to the log: a minute of sixteen releases' ticks.
const RING: usize = 1_024;
/// Clients at once: some 20 kB each with its connection.
const MAX_CLIENTS: usize = 2_000;
/// Receipts read at once for a client that catches up.
const PAGE: u32 = 128;
/// How often every client is told that the server is alive: it keeps proxies from closing the connection, and a page knows by its absence that a
/// server hangs which closes nothing. The session is asked for again with each.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What it is told then; an event without data would not reach a page.
const ALIVE: &[u8] = b"event: alive\ndata: 1\n\n";

/// What everybody is sent, encoded.
#[derive(Debug, Clone)]
struct Frame {
    /// Index of the receipt; `None` for a tick.
    index: Option<u64>,
    bytes: Bytes,
}

/// Encodes once and hands out.
#[derive(Clone)]
pub struct Hub {
    frames: broadcast::Sender<Frame>,
    log: Arc<dyn Log>,
    clients: Arc<AtomicUsize>,
    closing: watch::Receiver<bool>,
}

/// Data of a `tick` event.
#[derive(Serialize)]
struct TickEvent<'a> {
    release: &'a ReleaseId,
    tick: &'a Tick,
}

impl Hub {
    /// Starts to follow the log and the ticks. `closing` turns true when the server ends: streams end then, and clients come back to
    /// the next server.
    pub fn start(log: Arc<dyn Log>, delivery: &dyn Delivery, closing: watch::Receiver<bool>) -> Self {
        let (frames, _) = broadcast::channel(RING);
        let hub = Self { frames, log, clients: Arc::default(), closing };
        tokio::spawn(hub.clone().follow_log());
        tokio::spawn(hub.clone().follow_ticks(delivery.live()));
        hub
    }

    /// Clients connected now.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    async fn follow_log(self) {
        let mut size = self.log.size();
        let mut next = *size.borrow_and_update();
        loop {
            while next < *size.borrow() {
                match self.log.range(next, PAGE).await {
                    Ok(receipts) if !receipts.is_empty() => {
                        for receipt in receipts {
                            next = receipt.index + 1;
                            // Nobody listening is no error.
                            let _ = self.frames.send(receipt_frame(&receipt));
                        }
                    }
                    Ok(_) => break,
                    Err(error) => {
                        tracing::error!(%error, index = next, "the log cannot be followed");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
            if size.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_ticks(self, mut ticks: broadcast::Receiver<(ReleaseId, Tick)>) {
        loop {
            match ticks.recv().await {
                Ok((release, mut tick)) => {
                    // Histograms are for judges: 17,000 buckets a second are not for pages.
                    tick.stable.histogram.clear();
                    if let Some(canary) = &mut tick.canary {
                        canary.histogram.clear();
                    }
                    let _ = self.frames.send(tick_frame(&release, &tick));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// A client's stream: what it missed, then what comes. `recheck` says whether it may still see it.
    pub fn stream<F>(
        &self,
        after: Option<u64>,
        recheck: impl FnMut() -> F + Send + 'static,
    ) -> impl Stream<Item = Bytes> + Send + 'static
    where
        F: Future<Output = bool> + Send,
    {
        let live = self.frames.subscribe();
        // Whoever says nothing gets what comes from now on. So does whoever names a place that the log has not reached: they have
        // seen another log, and would wait in silence.
        let size = *self.log.size().borrow();
        let next = after.map_or(size, |after| after.saturating_add(1).min(size));
        let client = Client { hub: self.clone(), live, next, catching_up: true, ready: VecDeque::new() };
        let mut pulse = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        client.hub.clients.fetch_add(1, Ordering::Relaxed);
        let hello = Bytes::from_static(b"retry: 1000\n\n");
        let rest =
            futures::stream::unfold((client, pulse, recheck), |(mut client, mut pulse, mut recheck)| async move {
                let mut closing = client.hub.closing.clone();
                let woken = tokio::select! {
                    biased;
                    _ = async { closing.wait_for(|closing| *closing).await.is_ok() } => Woken::Closing,
                    _ = pulse.tick() => Woken::Pulse,
                    frame = client.next() => Woken::Frame(frame),
                };
                let bytes = match woken {
                    Woken::Frame(frame) => frame?,
                    Woken::Pulse if recheck().await => Bytes::from_static(ALIVE),
                    Woken::Pulse | Woken::Closing => return None,
                };
                Some((bytes, (client, pulse, recheck)))
            });
        futures::stream::once(std::future::ready(hello)).chain(rest)
    }
}

/// Why a client's stream goes on.
enum Woken {
    Frame(Option<Bytes>),
    Pulse,
    Closing,
}

struct Client {
    hub: Hub,
    live: broadcast::Receiver<Frame>,
    /// Index of the next receipt that this client has not seen.
    next: u64,
    catching_up: bool,
    ready: VecDeque<Bytes>,
}

impl Client {
    /// The next event; `None` when there will be no more. Nothing is lost when it is dropped half-way.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.catching_up {
                let receipts = self.hub.log.range(self.next, PAGE).await.ok()?;
                // The live ring was joined before: an empty answer means that everything later is in it.
                self.catching_up = !receipts.is_empty();
                for receipt in receipts {
                    self.next = receipt.index + 1;
                    self.ready.push_back(receipt_frame(&receipt).bytes);
                }
                continue;
            }
            match self.live.recv().await {
                Ok(Frame { index: None, bytes }) => return Some(bytes),
                Ok(Frame { index: Some(index), .. }) if index < self.next => {}
                Ok(Frame { index: Some(index), bytes }) if index == self.next => {
                    self.next = index + 1;
                    return Some(bytes);
                }
                // A hole: the log has what is missing.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.catching_up = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.hub.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn receipt_frame(receipt: &LoggedReceipt) -> Frame {
    let shown = projections::Receipt { index: receipt.index, payload: receipt.payload.clone() };
    Frame { index: Some(receipt.index), bytes: encode("receipt", Some(receipt.index), &shown) }
}

fn tick_frame(release: &ReleaseId, tick: &Tick) -> Frame {
    Frame { index: None, bytes: encode("tick", None, &TickEvent { release, tick }) }
}

/// One event. JSON has no line break outside of its strings, and escapes those within: one `data` line holds it.
fn encode(event: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("event: {event}\n{id}data: {data}\n\n"))
}

/// What a client asks.
#[derive(Deserialize)]
pub struct Asked {
    after: Option<u64>,
}

/// `GET /events`.
pub async fn events(State(app): State<App>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if app.hub.clients() >= MAX_CLIENTS {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many clients follow the log\n").into_response();
    }
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let hub = app.hub.clone();
    let recheck = move || {
        let (app, headers) = (app.clone(), headers.clone());
        async move { auth::still_admitted(&app, &headers).await }
    };
    // What the browser saw last is newer than the address that the page opened.
    let stream = hub.stream(last.or(asked.after), recheck).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(stream));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would otherwise hold events back.
    out.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
