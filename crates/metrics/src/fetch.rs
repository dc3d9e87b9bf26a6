//! One bounded HTTP exchange.

use std::time::Duration;

use controller::MetricError;
use reqwest::{Client, RequestBuilder, StatusCode, redirect::Policy};

/// Time for a connection: a source in the same network answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest text of an error that is kept.
const MAX_ERROR_TEXT: usize = 300;

/// A client that follows no redirect (a source must not choose whom we ask) and uses no proxy of the environment.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .user_agent(concat!("deliveryos/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends it and reads at most `limit` bytes of the answer, all within `timeout`.
pub(crate) async fn fetch(
    request: RequestBuilder,
    source: &str,
    limit: usize,
    timeout: Duration,
) -> Result<(StatusCode, Vec<u8>), MetricError> {
    let unreachable = |e: reqwest::Error| MetricError::Unreachable(source.to_owned(), words(&e));
    let exchange = async {
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(MetricError::Answered(source.to_owned(), format!("{status}: redirects are not followed")));
        }
        let too_large = || MetricError::Unreadable(source.to_owned(), format!("it is larger than {limit} bytes"));
        if response.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
        Err(MetricError::Unreachable(source.to_owned(), format!("no answer within {:.1} s", timeout.as_secs_f64())))
    })
}

/// Text from outside, on one line and not long.
pub(crate) fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_TEXT).collect()
}

/// The innermost cause, without the address (which may carry a query).
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    if error.is_connect() { cut(&format!("no connection: {text}")) } else { cut(&text) }
}
