//! A running server, as a client of its API sees it.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    args::{DEFAULT_SERVER, Global},
    exit::{Refusal, WrongUse},
};

/// An answer takes milliseconds; after so long there is none.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer read: a release with 30,000 receipts.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Speaks to a server.
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

/// Why a server refused.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    /// For the server and token of the command line.
    pub fn new(global: &Global) -> anyhow::Result<Self> {
        let base = global.server.as_deref().unwrap_or(DEFAULT_SERVER).trim_end_matches('/');
        let url = reqwest::Url::parse(base).map_err(|error| WrongUse(format!("--server {base:?}: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WrongUse(format!("--server {base:?}: an address that begins with http:// or https://")).into());
        }
        // A redirect could carry the token elsewhere.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("deliveryos/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client could not be made")?;
        Ok(Self { base: base.to_owned(), token: global.token.as_ref().map(|token| token.0.clone()), http })
    }

    /// Asks for a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(self.request(Method::GET, path).timeout(TIMEOUT)).await
    }

    /// Posts a JSON document.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.post_within(TIMEOUT, path, body).await
    }

    /// Posts a JSON document; for what takes longer.
    pub async fn post_within<T: DeserializeOwned>(
        &self,
        time: Duration,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body).context("the request has no JSON form")?;
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json").body(body);
        self.ask(request.timeout(time)).await
    }

    /// Follows the live stream from after this index.
    pub async fn events(&self, after: u64) -> anyhow::Result<impl Stream<Item = anyhow::Result<Event>> + use<>> {
        let response = self.send(self.request(Method::GET, &format!("/events?after={after}"))).await?;
        let base = self.base.clone();
        let chunks =
            response.bytes_stream().map(move |chunk| chunk.with_context(|| format!("{base} broke off the stream")));
        Ok(events(chunks))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let response = self.send(request).await?;
        let body = whole(response).await.with_context(|| format!("{} did not answer to its end", self.base))?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{} gave an answer that this version cannot read", self.base))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.send().await.map_err(|error| {
            // The address is in our own words; reqwest's would repeat it.
            anyhow::anyhow!("{} cannot be reached: {}", self.base, root(&error.without_url()))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = whole(response).await.unwrap_or_default();
        let said =
            serde_json::from_slice::<Problem>(&body).map_or_else(|_| format!("{status}"), |problem| problem.detail);
        Err(match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => {
                Refusal("the server wants a token: --token TOKEN or DELIVERYOS_TOKEN, from `deliveryos token create --role operator`".into()).into()
            }
            StatusCode::UNAUTHORIZED => Refusal("the server does not know this token: it may have been revoked or have expired".into()).into(),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => WrongUse(said).into(),
            status if status.is_client_error() => Refusal(said).into(),
            _ => anyhow::anyhow!("{} could not find out: {said}", self.base),
        })
    }
}

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `receipt`, `tick`.
    pub kind: String,
    /// JSON.
    pub data: String,
}

/// Longest event: a receipt of 65 kB, escaped.
const MAX_EVENT: usize = 1024 * 1024;

fn events<E>(chunks: impl Stream<Item = Result<Bytes, E>>) -> impl Stream<Item = anyhow::Result<Event>>
where
    anyhow::Error: From<E>,
{
    let state = (Box::pin(chunks), Vec::<u8>::new());
    futures::stream::try_unfold(state, |(mut chunks, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                    return Ok(Some((event, (chunks, buffer))));
                }
                continue;
            }
            anyhow::ensure!(buffer.len() <= MAX_EVENT, "the server sent an event without end");
            match chunks.next().await {
                Some(chunk) => buffer.extend_from_slice(&chunk?),
                None => return Ok(None),
            }
        }
    })
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Event { kind: field("event")?.to_owned(), data: field("data")?.to_owned() })
}

async fn whole(response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
        anyhow::ensure!(body.len() <= MAX_ANSWER, "the answer is longer than {} MB", MAX_ANSWER >> 20);
    }
    Ok(body)
}

fn root(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// A random idempotency key.
pub fn random_id() -> anyhow::Result<model::CommandId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the operating system gave no randomness"))?;
    Ok(hex::encode(bytes).parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_read_however_they_are_cut() {
        let text =
            "retry: 1000\n\n: alive\n\nevent: receipt\nid: 7\ndata: {\"a\":1}\n\nevent: tick\ndata: {}\n\nevent: half";
        for size in 1..=text.len() {
            let chunks: Vec<Result<Bytes, std::io::Error>> =
                text.as_bytes().chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let read: Vec<Event> = events(futures::stream::iter(chunks)).map(|event| event.unwrap()).collect().await;
            let event = |kind: &str, data: &str| Event { kind: kind.into(), data: data.into() };
            assert_eq!(read, [event("receipt", "{\"a\":1}"), event("tick", "{}")], "{size}");
        }
    }
}
