//! Requests: authorisation, retries, `Retry-After`, times and sizes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Method, Response, StatusCode, header, redirect};
use url::Url;

use super::{auth::Auth, credentials::Credentials};
use crate::{Descriptor, Error, Source, checked, limits};

/// One request, which can be made again.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// What the token must allow.
    pub(super) scope: String,
    /// For people.
    pub(super) what: String,
    pub(super) headers: Vec<(header::HeaderName, String)>,
    pub(super) payload: Payload<'a>,
}

/// Its body.
pub(super) enum Payload<'a> {
    None,
    Bytes(Bytes),
    Blob(&'a dyn Source, &'a Descriptor),
}

impl Ask<'_> {
    pub(super) fn new(method: Method, url: Url, scope: String, what: &str) -> Self {
        Self { method, url, scope, what: what.to_owned(), headers: Vec::new(), payload: Payload::None }
    }
}

/// The client of one registry.
pub(super) struct Http {
    base: Url,
    client: reqwest::Client,
    auth: Auth,
}

/// Why a try came to nothing.
enum Lost {
    /// Trying again may help.
    Again(String),
    /// It will not.
    Final(Error),
}

impl Http {
    pub(super) fn new(base: Url, host: String, credentials: Credentials) -> Result<Self, Error> {
        let policy = redirect::Policy::custom(|attempt| {
            let downgrade =
                attempt.previous().iter().any(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
            if downgrade || attempt.previous().len() > limits::REDIRECTS { attempt.stop() } else { attempt.follow() }
        });
        // No time for a whole request: a layer takes as long as it takes, and the pauses within are watched.
        let client = reqwest::Client::builder()
            .connect_timeout(limits::CONNECT)
            .redirect(policy)
            .user_agent(concat!("deliveryos/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::Unreachable { place: host.clone(), what: "anything".to_owned(), cause: root(&e) })?;
        Ok(Self { auth: Auth::new(base.clone(), host, credentials), base, client })
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, Error> {
        self.base.join(path).map_err(|e| Error::malformed(path.to_owned(), e.to_string()))
    }

    /// Asks until there is an answer that is no "not now". 401 and 403 are errors, every other status is the caller's.
    pub(super) async fn send(&self, place: &str, ask: &Ask<'_>) -> Result<Response, Error> {
        let (mut attempt, mut asked_again, mut last) = (1, 0, None);
        loop {
            // Only the registry itself gets our token: an upload may go on at another host, with its own signature in the address.
            let own = ask.url.origin() == self.base.origin();
            let token = if own { self.auth.header(&ask.scope).await } else { None };
            let wait = match self.once(place, ask, token.as_deref()).await {
                Ok(answer) => match answer.status() {
                    StatusCode::UNAUTHORIZED if own && asked_again < 2 => {
                        asked_again += 1;
                        // A second 401 with a fresh token means that the token does not reach so far.
                        let challenge = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
                        let challenge: Vec<String> =
                            challenge.filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
                        if self.auth.answer(&self.client, place, &challenge, &ask.scope).await? {
                            continue;
                        }
                        return Err(denied(place, ask, StatusCode::UNAUTHORIZED));
                    }
                    status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                        return Err(denied(place, ask, status));
                    }
                    status if busy(status) => {
                        last = Some(status);
                        retry_after(&answer)
                    }
                    _ => return Ok(answer),
                },
                Err(Lost::Final(error)) => return Err(error),
                Err(Lost::Again(cause)) if attempt >= limits::ATTEMPTS => {
                    return Err(Error::Unreachable { place: place.to_owned(), what: ask.what.clone(), cause });
                }
                Err(Lost::Again(_)) => None,
            };
            let too_long = wait.is_some_and(|wait| wait > limits::RETRY_AFTER);
            if let Some(status) = last
                && (attempt >= limits::ATTEMPTS || too_long)
            {
                return Err(Error::Busy {
                    place: place.to_owned(),
                    what: ask.what.clone(),
                    status: status.as_u16(),
                    attempts: attempt,
                });
            }
            tokio::time::sleep(wait.unwrap_or_else(|| backoff(attempt))).await;
            attempt += 1;
        }
    }

    async fn once(&self, place: &str, ask: &Ask<'_>, token: Option<&str>) -> Result<Response, Lost> {
        let mut request = self.client.request(ask.method.clone(), ask.url.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let passed = Arc::new(AtomicU64::new(0));
        let mut length = 0;
        match &ask.payload {
            Payload::None => {}
            Payload::Bytes(bytes) => request = request.body(bytes.clone()),
            Payload::Blob(source, blob) => {
                length = blob.size;
                let count = Arc::clone(&passed);
                let wrong = Arc::new(std::sync::Mutex::new(None));
                let failure = Arc::clone(&wrong);
                let stream =
                    checked(source.open().await.map_err(Lost::Final)?, blob, place).map(move |chunk| match chunk {
                        Ok(chunk) => {
                            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                            Ok(chunk)
                        }
                        Err(error) => {
                            let said = error.to_string();
                            if let Ok(mut place) = failure.lock() {
                                *place = Some(error);
                            }
                            Err(std::io::Error::other(said))
                        }
                    });
                request = request
                    .header(header::CONTENT_TYPE, "application/octet-stream")
                    .header(header::CONTENT_LENGTH, blob.size)
                    .body(reqwest::Body::wrap_stream(stream));
                let sent = watched(request.send(), &passed, length).await;
                // Our own bytes were wrong, or could not be read: that is what to say, and not that the registry went away.
                if let Some(error) = wrong.lock().ok().and_then(|mut place| place.take()) {
                    return Err(Lost::Final(error));
                }
                return sent;
            }
        }
        watched(request.send(), &passed, length).await
    }

    /// A body whole, up to a limit.
    pub(super) async fn body(&self, place: &str, what: &str, answer: Response, limit: u64) -> Result<Bytes, Error> {
        body(place, what, answer, limit).await
    }
}

/// As long as bytes go out, it is waited; then as long as a registry needs to put them away.
async fn watched(
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
    passed: &AtomicU64,
    length: u64,
) -> Result<Response, Lost> {
    tokio::pin!(sending);
    let (mut seen, mut quiet) = (0, Duration::ZERO);
    let step = Duration::from_secs(1);
    loop {
        tokio::select! {
            sent = &mut sending => return sent.map_err(|e| Lost::Again(root(&e.without_url()))),
            () = tokio::time::sleep(step) => {
                let now = passed.load(Ordering::Relaxed);
                quiet = if now == seen { quiet + step } else { Duration::ZERO };
                seen = now;
                let limit = if length > 0 && now >= length { limits::FINISH } else { limits::IDLE };
                if quiet >= limit {
                    return Err(Lost::Again(format!("nothing for {} s", limit.as_secs())));
                }
            }
        }
    }
}

pub(super) async fn body(place: &str, what: &str, mut answer: Response, limit: u64) -> Result<Bytes, Error> {
    let lost = |cause: String| Error::Unreachable { place: place.to_owned(), what: what.to_owned(), cause };
    let too_long = || Error::limit(format!("the answer of {place} about {what}"), format!("{} KiB", limit >> 10));
    if answer.content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(limits::IDLE, answer.chunk()).await {
            Err(_) => return Err(lost(format!("no byte for {} s", limits::IDLE.as_secs()))),
            Ok(Err(error)) => return Err(lost(root(&error.without_url()))),
            Ok(Ok(None)) => return Ok(bytes.into()),
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
        }
        if bytes.len() as u64 > limit {
            return Err(too_long());
        }
    }
}

fn denied(place: &str, ask: &Ask<'_>, status: StatusCode) -> Error {
    Error::Denied { place: place.to_owned(), what: ask.what.clone(), status: status.as_u16() }
}

fn busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Seconds, or a date (RFC 9110).
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().to_owned();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    http_date(&text).map(|at| at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|name| name == month)? as u64;
    let mut parts = time.split(':').map(|part| part.parse::<u64>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    let leap = |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
    let before: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = before + lengths.iter().take(usize::try_from(month).ok()?).sum::<u64>() + day - 1;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + h * 3_600 + m * 60 + s))
}

/// Twice as long each time, and not at the same moment as everybody else.
fn backoff(attempt: u32) -> Duration {
    let base = limits::BACKOFF * 2_u32.pow(attempt.saturating_sub(1).min(6));
    base + jitter(base)
}

/// Up to half as much again.
pub(super) fn jitter(base: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness everybody waits the same: slower, not wrong.
    let _ = getrandom::fill(&mut byte);
    base / 2 * u32::from(byte[0]) / 255
}

/// The deepest cause: what the outer ones say is said by our own words.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let seconds =
            |text: &str| http_date(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        for no in [
            "",
            "soon",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
        ] {
            assert_eq!(seconds(no), None, "{no}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        assert!(backoff(1) >= limits::BACKOFF);
        assert!(backoff(100) <= limits::BACKOFF * 96);
    }
}
