//! The provider `web`: one HTTP request, one value picked out of its JSON answer.

use std::time::Duration;

use async_trait::async_trait;
use controller::{MetricAnswer, MetricError, MetricSource};
use model::Timestamp;
use reqwest::{Method, header::CONTENT_TYPE};
use rollout::{Provider, recipe::WebBody};
use serde_json::Value;

use crate::{
    allow::Allowed,
    fetch::{cut, fetch},
    jsonpath::JsonPath,
    prometheus::{millis, not_supported},
};

/// Time for an answer when the recipe says nothing: Argo Rollouts' default for this provider.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer: a health report, not a data dump.
const MAX_BODY: usize = 1024 * 1024;

/// Largest value kept as a measurement; a condition looks at a number or a small object.
const MAX_VALUE: usize = 16 * 1024;

/// Largest request body.
const MAX_REQUEST: usize = 64 * 1024;

/// Asks one address.
#[derive(Debug, Clone)]
pub struct WebSource {
    allowed: Allowed,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Option<Body<'a>>,
    pub(crate) json_path: &'a str,
    pub(crate) timeout: Duration,
}

/// What is sent.
pub(crate) enum Body<'a> {
    Text(&'a str),
    Json(&'a Value),
}

/// The value, and the address that gave it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) value: Value,
    pub(crate) source: String,
}

impl WebSource {
    /// A source that asks what is allowed.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed }
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, MetricError> {
        let permit = self.allowed.permit(ask.url)?.with_headers(ask.headers)?;
        let source = permit.shown();
        let unsupported = |what: String| MetricError::NotSupported(format!("web: {what}"));
        let method = match ask.method {
            "" | "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            other => return Err(unsupported(format!("the method {:?}", cut(other)))),
        };
        let path = JsonPath::parse(ask.json_path).map_err(|e| unsupported(e.to_string()))?;
        let mut request = self.allowed.client.request(method.clone(), permit.url).headers(permit.headers.clone());
        if let Some(body) = ask.body {
            if method == Method::GET {
                return Err(unsupported("a body with GET".to_owned()));
            }
            let (bytes, json) = match body {
                Body::Text(text) => (text.as_bytes().to_vec(), false),
                Body::Json(value) => (serde_json::to_vec(value).map_err(|e| unsupported(e.to_string()))?, true),
            };
            if bytes.len() > MAX_REQUEST {
                return Err(unsupported(format!("a body of more than {MAX_REQUEST} bytes")));
            }
            if json && !permit.headers.contains_key(CONTENT_TYPE) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(bytes);
        }
        let (status, body) = fetch(request, &source, MAX_BODY, ask.timeout).await?;
        if !status.is_success() {
            return Err(MetricError::Answered(source, format!("HTTP status {status}")));
        }
        match value(&body, &path, ask.json_path.trim().is_empty()) {
            Ok(value) => Ok(Answer { value, source }),
            Err(why) => Err(MetricError::Unreadable(source, why)),
        }
    }
}

#[async_trait]
impl MetricSource for WebSource {
    fn handles(&self, provider: &Provider) -> bool {
        matches!(provider, Provider::Web(_))
    }

    async fn measure(
        &self,
        provider: &Provider,
        _now: Timestamp,
        timeout: Duration,
    ) -> Result<MetricAnswer, MetricError> {
        let Provider::Web(w) = provider else { return Err(not_supported(provider)) };
        let ask = Ask {
            url: &w.url,
            method: &w.method,
            headers: w.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            body: w.body.as_ref().map(|b| match b {
                WebBody::Text(text) => Body::Text(text),
                WebBody::Json(value) => Body::Json(value),
            }),
            json_path: &w.json_path,
            timeout: w.timeout_ms.map_or(DEFAULT_TIMEOUT, millis).min(timeout),
        };
        let answer = self.ask(ask).await?;
        let method = if w.method.is_empty() { "GET" } else { &w.method };
        let path = if w.json_path.is_empty() { String::new() } else { format!(" {}", w.json_path) };
        Ok(MetricAnswer {
            value: answer.value,
            query: format!("{method} {}{path}", answer.source),
            source: answer.source,
        })
    }
}

/// The value at `path`; a body that is not JSON is a text, if the whole of it is wanted.
fn value(body: &[u8], path: &JsonPath, whole: bool) -> Result<Value, String> {
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(document) => match path.first(&document) {
            Some(found) => found.clone(),
            None => return Err("the jsonPath finds nothing in it".to_owned()),
        },
        Err(_) if whole => Value::String(
            std::str::from_utf8(body).map_err(|_| "it is neither JSON nor text".to_owned())?.trim().to_owned(),
        ),
        Err(e) => return Err(cut(&format!("it is not JSON: {e}"))),
    };
    if value.to_string().len() > MAX_VALUE {
        return Err(format!("the value is larger than {MAX_VALUE} bytes: narrow the jsonPath"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: &str, path: &str, expected: Result<Value, &str>) {
        match (value(body.as_bytes(), &JsonPath::parse(path).unwrap(), path.is_empty()), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{body}"),
            (Err(e), Err(says)) => assert!(e.contains(says), "{body}: {e}"),
            (got, expected) => panic!("{body}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn values() {
        check(r#"{"data":{"ok":true}}"#, "{$.data.ok}", Ok(json!(true)));
        check(r#"{"data":{"ok":true}}"#, "", Ok(json!({"data":{"ok":true}})));
        check("7", "", Ok(json!(7)));
        check(" OK\n", "", Ok(json!("OK")));
        check("OK", "{$}", Err("not JSON"));
        check("{}", "{$.a}", Err("finds nothing"));
        check(&format!("{:?}", "x".repeat(MAX_VALUE)), "", Err("narrow"));
        check(&"[".repeat(100_000), "{$}", Err("not JSON"));
        assert!(value(&[0xff, 0xfe], &JsonPath::parse("").unwrap(), true).is_err());
    }
}
