//! One request: routed, sent on, answered.

pub(crate) mod body;
mod exec;
pub(crate) mod flight;
mod headers;
mod pool;
mod serve;
mod tunnel;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version as HttpVersion};
use hyper::body::{Body, Incoming};
use model::Track;

use self::body::{Answer, Download, Upload};
use self::flight::{Phase, Stop, Times, Trip, WorkerVersion};
use self::pool::{ConnectError, Sender};
use crate::route::{BlockCache, Service};
use crate::spec::{Protocol, Sticky};
use crate::stats::Outcome;
use crate::worker::Worker;

pub(crate) use self::exec::LocalExec;
pub(crate) use self::pool::Pool;
pub(crate) use self::serve::{Connection, serve};

/// Names the cause of an answer of the splitter's own.
const ERROR_HEADER: HeaderName = HeaderName::from_static("x-deliveryos-error");

/// What a connection's requests have in common.
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) service: Arc<Service>,
    pub(crate) cache: Rc<std::cell::RefCell<BlockCache>>,
    /// The client's address as a header's value.
    pub(crate) client: HeaderValue,
}

/// What is decided about a request in one look at the route.
struct Decision {
    version: Rc<WorkerVersion>,
    times: Times,
    upstream_connections: usize,
    body_bytes: Option<u64>,
    trust_forwarded: bool,
}

/// Why a request is answered here.
struct Refused {
    status: StatusCode,
    /// For programs, in [`ERROR_HEADER`].
    code: &'static str,
    /// For people.
    text: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }
}

/// Answers one request.
pub(crate) async fn handle(context: Rc<Context>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let started = Instant::now();
    // Decided and counted without an await between: see `Trip::begin`.
    let decided = decide(&context, &request);
    let trip = match decided {
        Ok(decision) => (Trip::begin(&context.worker, Rc::clone(&decision.version), decision.times, started), decision),
        Err(refused) => {
            context.service.answered_here.fetch_add(1, Ordering::Relaxed);
            return Ok(own(refused));
        }
    };
    Ok(match send(&context, request, trip.0, &trip.1, started).await {
        Ok(response) => response,
        Err(refused) => own(refused),
    })
}

/// Checks a request and picks its version.
fn decide(context: &Context, request: &Request<Incoming>) -> Result<Decision, Refused> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "connect-refused", "CONNECT is not served here"));
    }
    if request.version() == HttpVersion::HTTP_11 {
        // RFC 9112 section 3.2: exactly one. Two would let client and version disagree about the host.
        let mut hosts = headers.get_all(header::HOST).iter();
        if hosts.next().is_none() || hosts.next().is_some() {
            return Err(Refused::new(StatusCode::BAD_REQUEST, "host-header", "a request has exactly one Host header"));
        }
    }
    let route = context.service.route.load();
    let limits = &route.limits;
    if headers.len() > limits.headers {
        return Err(Refused::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too-many-headers",
            format!("at most {} header lines", limits.headers),
        ));
    }
    if let Some(limit) = limits.body_bytes
        && request.body().size_hint().lower() > limit
    {
        return Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("a body has at most {limit} bytes"),
        ));
    }
    let key = match &route.sticky {
        None => None,
        Some(Sticky::Header(name)) => headers.get(name).map(HeaderValue::as_bytes),
        Some(Sticky::Cookie(name)) => headers::cookie(headers, name),
    };
    let track = match key {
        Some(key) => route.stuck(key),
        None => route.next(&mut context.cache.borrow_mut()),
    };
    let Some(version) = route.version(track) else {
        let code = match track {
            Track::Stable => "no-stable-version",
            Track::Canary => "no-canary-version",
        };
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code,
            format!("there is no {} version", track.as_str()),
        ));
    };
    Ok(Decision {
        version: context.worker.version(version),
        times: Times { connect: limits.connect_ms, answer: limits.answer_ms, idle: limits.idle_ms },
        upstream_connections: limits.upstream_connections,
        body_bytes: limits.body_bytes,
        trust_forwarded: route.trust_forwarded,
    })
}

/// Sends a request on and brings the answer.
async fn send(
    context: &Rc<Context>,
    mut request: Request<Incoming>,
    trip: Trip,
    decision: &Decision,
    started: Instant,
) -> Result<Response<Answer>, Refused> {
    let version = &decision.version;
    let upgrade = if request.version() == HttpVersion::HTTP_11 { headers::upgrade(request.headers()) } else { None };
    let client_upgrade = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let mut request = rewrite(context, request, &trip, decision, upgrade.as_ref());
    let uploads = request.body().is_some();

    let mut sent_at = started;
    let (mut response, sender) = loop {
        let (mut sender, reused) = match version.pool.take() {
            Some(sender) => (sender, true),
            None => match trip.guarded(version.pool.connect(decision.upstream_connections)).await {
                Ok(Ok(sender)) => {
                    sent_at = Instant::now();
                    (sender, false)
                }
                Ok(Err(error)) => return Err(connect_failed(&trip, &error)),
                Err(stop) => return Err(stopped(&trip, stop)),
            },
        };
        trip.enter(if uploads { Phase::Uploading } else { Phase::Waiting });
        trip.sent(sent_at);
        let answer = match &mut sender {
            Sender::Http1(sender) => trip.guarded(sender.try_send_request(request)).await,
            Sender::Http2(sender) => trip.guarded(sender.try_send_request(request)).await,
        };
        match answer {
            Ok(Ok(response)) => break (response, sender),
            Ok(Err(mut error)) => match error.take_message() {
                // The connection had been closed before a byte of the request was written: it is as if it had not been tried.
                Some(message) if reused => {
                    request = message;
                    sent_at = Instant::now();
                }
                _ => {
                    if let Some(stop) = trip.stopped() {
                        return Err(stopped(&trip, stop));
                    }
                    return Err(failed(
                        &trip,
                        "upstream-broke",
                        &format!("broke the connection before it answered: {}", root(&error.into_error())),
                    ));
                }
            },
            Err(stop) => return Err(stopped(&trip, stop)),
        }
    };

    let status = response.status();
    trip.answered(status.as_u16());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(upgrade), Some(client)) = (headers::upgrade(response.headers()), client_upgrade) else {
            return Err(failed(&trip, "upstream-upgrade", "switched protocols without being asked to"));
        };
        trip.complete();
        tunnel::spawn(client, hyper::upgrade::on(&mut response), trip);
        let (mut parts, _) = response.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, upgrade);
        return Ok(Response::from_parts(parts, Answer::own(None)));
    }
    let (mut parts, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.version = HttpVersion::HTTP_11;
    if is_event_stream(&parts.headers) {
        // Its end says nothing about the version: it is counted now, and stays under way until it ends.
        trip.complete();
    }
    Ok(Response::from_parts(parts, Answer::version(Download::new(body, trip, Rc::clone(&version.pool), sender))))
}

/// The request as the version sees it.
fn rewrite(
    context: &Context,
    request: Request<Incoming>,
    trip: &Trip,
    decision: &Decision,
    upgrade: Option<&HeaderValue>,
) -> Request<Upload> {
    let (mut parts, body) = request.into_parts();
    let trailers = headers::wants_trailers(&parts.headers);
    headers::strip_hop_by_hop(&mut parts.headers);
    // The client was told to go on by this hop (hyper sends the 100 when the body is first read).
    parts.headers.remove(header::EXPECT);
    // RFC 9112 section 3.2.2: the authority of an absolute target, and of every HTTP/2 request, is the host.
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let host = parts.headers.get(header::HOST).cloned();
    headers::forward(&mut parts.headers, &context.client, host.as_ref(), decision.trust_forwarded);
    match decision.version.shared.protocol {
        Protocol::Http1 => {
            if parts.version == HttpVersion::HTTP_2 {
                headers::join_cookies(&mut parts.headers);
            }
            if parts.uri.authority().is_some() {
                parts.uri = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
            }
            if host.is_none() {
                // HTTP/1.0 clients may leave it out, HTTP/1.1 versions need one.
                if let Ok(target) = HeaderValue::try_from(decision.version.shared.target_text()) {
                    parts.headers.insert(header::HOST, target);
                }
            }
            if let Some(protocol) = upgrade {
                parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                parts.headers.insert(header::UPGRADE, protocol.clone());
            } else if trailers {
                parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
                headers::ask_for_trailers(&mut parts.headers);
            }
            parts.version = HttpVersion::HTTP_11;
        }
        Protocol::H2c => {
            parts.headers.remove(header::HOST);
            let authority = host
                .as_ref()
                .and_then(|host| host.to_str().ok())
                .map_or_else(|| decision.version.shared.target_text(), str::to_owned);
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            if let Ok(uri) = Uri::builder().scheme("http").authority(authority).path_and_query(path).build() {
                parts.uri = uri;
            }
            if trailers {
                headers::ask_for_trailers(&mut parts.headers);
            }
            parts.version = HttpVersion::HTTP_2;
        }
    }
    Request::from_parts(parts, Upload::new(body, trip, decision.body_bytes))
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// There was no connection to send the request over.
fn connect_failed(trip: &Trip, error: &ConnectError) -> Refused {
    match error {
        ConnectError::Full => {
            trip.settle(Outcome::Failed(503));
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "upstream-full", error.to_string())
        }
        ConnectError::Connect(_) | ConnectError::Handshake(_) | ConnectError::NotStarted => {
            failed(trip, "upstream-connect", &error.to_string())
        }
    }
}

/// The version failed before it answered.
fn failed(trip: &Trip, code: &'static str, text: &str) -> Refused {
    trip.settle(Outcome::Failed(502));
    Refused::new(StatusCode::BAD_GATEWAY, code, format!("the version failed: {text}"))
}

/// The request was stopped before the answer's head came.
fn stopped(trip: &Trip, stop: Stop) -> Refused {
    match stop {
        Stop::Connect | Stop::Answer | Stop::VersionIdle => {
            trip.settle(Outcome::TimedOut(504));
            let (code, text) = match stop {
                Stop::Connect => (
                    "connect-timeout",
                    format!("the version did not accept a connection within {} ms", trip.times.connect),
                ),
                _ => ("answer-timeout", format!("the version did not answer within {} ms", trip.times.answer)),
            };
            Refused::new(StatusCode::GATEWAY_TIMEOUT, code, text)
        }
        Stop::Malformed => {
            trip.settle(Outcome::ClientGone);
            Refused::new(StatusCode::BAD_REQUEST, "body-malformed", "the request's body breaks the rules of its coding")
        }
        Stop::ClientBroke => {
            trip.settle(Outcome::ClientGone);
            Refused::new(StatusCode::BAD_REQUEST, "body-incomplete", "the request's body broke off")
        }
        Stop::ClientIdle => {
            trip.settle(Outcome::ClientGone);
            Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                "client-stalled",
                format!("the request's body stalled for {} ms", trip.times.idle),
            )
        }
        Stop::TooLarge => {
            trip.settle(Outcome::ClientGone);
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "the request's body is over the limit")
        }
        Stop::Drain => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "drained", "the version was taken out before it answered")
        }
    }
}

/// The innermost cause, which says most.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// An answer in the splitter's own words.
fn own(refused: Refused) -> Response<Answer> {
    let mut response = Response::new(Answer::own(Some(Bytes::from(format!("{}\n", refused.text)))));
    *response.status_mut() = refused.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static(refused.code));
    response
}
