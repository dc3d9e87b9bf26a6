//! Prometheus' HTTP API v1: `/api/v1/query` and `/api/v1/query_range`.
//!
//! As Argo Rollouts hands it to conditions: a scalar is a number, a vector is the list of its samples' values, a matrix is the list of
//! all its series' values one after the other, a string is refused. JSON has no NaN and no infinity: they are the
//! strings `NaN`, `+Inf` and `-Inf`, as Prometheus writes them.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use controller::{CounterAsk, Counters, MetricAnswer, MetricError, MetricSource};
use model::Timestamp;
use reqwest::StatusCode;
use rollout::Provider;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    allow::Allowed,
    fetch::{cut, fetch},
};

/// Time for an answer when the recipe says nothing: Argo Rollouts' default.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer: 10,000 samples with long label sets.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Most values of one answer: Prometheus' own limit is 11,000 points a series.
const MAX_VALUES: usize = 11_000;

/// Longest query.
const MAX_QUERY: usize = 16 * 1024;

/// Asks Prometheus (or what speaks its API) for an instant or a range.
#[derive(Debug, Clone)]
pub struct PrometheusSource {
    allowed: Allowed,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) address: &'a str,
    pub(crate) query: &'a str,
    pub(crate) range: Option<Range>,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) timeout: Duration,
}

/// A range query's span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) step: Duration,
}

/// A series with its labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Labelled {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) values: Vec<(Timestamp, f64)>,
}

/// The value, and the address that gave it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) value: Value,
    pub(crate) source: String,
}

impl PrometheusSource {
    /// A source that asks what is allowed.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed }
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>, now: Timestamp) -> Result<Answer, MetricError> {
        let (status, body, source) = self.exchange(ask, now).await?;
        let value = read(&body).map_err(|e| e.at(&source, status.is_success(), status.as_u16()))?;
        Ok(Answer { value, source })
    }

    /// Every series of a range with its labels, and the address that gave them.
    pub(crate) async fn labelled(
        &self,
        address: &str,
        query: &str,
        range: Range,
        timeout: Duration,
    ) -> Result<(Vec<Labelled>, String), MetricError> {
        let ask = Ask { address, query, range: Some(range), headers: Vec::new(), timeout };
        let (status, body, source) = self.exchange(ask, range.end).await?;
        let series = read_labelled(&body).map_err(|e| e.at(&source, status.is_success(), status.as_u16()))?;
        Ok((series, source))
    }

    async fn exchange(&self, ask: Ask<'_>, now: Timestamp) -> Result<(StatusCode, Vec<u8>, String), MetricError> {
        let mut permit = self.allowed.permit(ask.address)?.with_headers(ask.headers)?;
        permit.url.set_query(None);
        permit.url.set_fragment(None);
        let source = permit.shown();
        if ask.query.len() > MAX_QUERY {
            return Err(MetricError::NotSupported(format!("prometheus: a query of more than {MAX_QUERY} bytes")));
        }
        let mut form = vec![("query", ask.query.to_owned()), ("timeout", format!("{:.3}", ask.timeout.as_secs_f64()))];
        let api = match ask.range {
            None => {
                form.push(("time", seconds(now)));
                "query"
            }
            Some(range) => {
                form.push(("start", seconds(range.start)));
                form.push(("end", seconds(range.end)));
                form.push(("step", format!("{:.3}", range.step.as_secs_f64())));
                "query_range"
            }
        };
        let path = format!("{}/api/v1/{api}", permit.url.path().trim_end_matches('/'));
        permit.url.set_path(&path);
        let request = self.allowed.client.post(permit.url).headers(permit.headers).form(&form);
        let (status, body) = fetch(request, &source, MAX_BODY, ask.timeout).await?;
        Ok((status, body, source))
    }
}

#[async_trait]
impl MetricSource for PrometheusSource {
    fn handles(&self, provider: &Provider) -> bool {
        matches!(provider, Provider::Prometheus(_))
    }

    async fn measure(
        &self,
        provider: &Provider,
        now: Timestamp,
        timeout: Duration,
    ) -> Result<MetricAnswer, MetricError> {
        let Provider::Prometheus(p) = provider else { return Err(not_supported(provider)) };
        let range = p.range.map(|r| Range {
            start: now.plus_millis(-r.start_ms_ago),
            end: now.plus_millis(-r.end_ms_ago),
            step: millis(r.step_ms),
        });
        let ask = Ask {
            address: &p.address,
            query: &p.query,
            range,
            headers: p.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            timeout: p.timeout_ms.map_or(DEFAULT_TIMEOUT, millis).min(timeout),
        };
        let answer = self.ask(ask, now).await?;
        Ok(MetricAnswer { value: answer.value, query: p.query.clone(), source: answer.source })
    }

    fn counts(&self) -> bool {
        true
    }

    async fn counters(&self, ask: &CounterAsk, timeout: Duration) -> Result<Counters, MetricError> {
        self.count(ask, timeout).await
    }
}

/// For a provider of another kind.
pub(crate) fn not_supported(provider: &Provider) -> MetricError {
    MetricError::NotSupported(match provider {
        Provider::Builtin(_) => "builtin".to_owned(),
        Provider::Prometheus(_) => "prometheus".to_owned(),
        Provider::Web(_) => "web".to_owned(),
        Provider::Other(name) => cut(name),
    })
}

/// Milliseconds of a recipe; negative ones are none.
pub(crate) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    value: Option<(f64, String)>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

#[derive(Debug, PartialEq)]
enum Unread {
    Refused(String),
    Garbled(String),
}

impl Unread {
    fn at(self, source: &str, success: bool, status: u16) -> MetricError {
        match self {
            Self::Refused(text) => MetricError::Answered(source.to_owned(), text),
            Self::Garbled(_) if !success => MetricError::Answered(source.to_owned(), format!("HTTP status {status}")),
            Self::Garbled(text) => MetricError::Unreadable(source.to_owned(), text),
        }
    }
}

fn read(body: &[u8]) -> Result<Value, Unread> {
    let garbled = |text: &str| Unread::Garbled(text.to_owned());
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|e| Unread::Garbled(cut(&format!("not an answer of Prometheus' API: {e}"))))?;
    if envelope.status != "success" {
        return Err(Unread::Refused(cut(&envelope.error.unwrap_or(envelope.status))));
    }
    let values: Vec<String> = match envelope.data {
        None => return Err(garbled("it has no data")),
        Some(Data::String(_)) => return Err(garbled("a string is not a metric")),
        Some(Data::Scalar((_, value))) => return number(&value),
        Some(Data::Vector(samples)) => {
            // A native histogram's sample has no value: there is no number to give.
            samples
                .into_iter()
                .map(|s| s.value.map(|v| v.1))
                .collect::<Option<_>>()
                .ok_or_else(|| garbled("a native histogram is not a number"))?
        }
        Some(Data::Matrix(series)) => series.into_iter().flat_map(|s| s.values).map(|v| v.1).collect(),
    };
    if values.len() > MAX_VALUES {
        return Err(Unread::Garbled(format!("it has {} values, {MAX_VALUES} are allowed", values.len())));
    }
    Ok(Value::Array(values.iter().map(|v| number(v)).collect::<Result<_, _>>()?))
}

fn read_labelled(body: &[u8]) -> Result<Vec<Labelled>, Unread> {
    let garbled = |text: &str| Unread::Garbled(text.to_owned());
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|e| Unread::Garbled(cut(&format!("not an answer of Prometheus' API: {e}"))))?;
    if envelope.status != "success" {
        return Err(Unread::Refused(cut(&envelope.error.unwrap_or(envelope.status))));
    }
    let Some(Data::Matrix(series)) = envelope.data else { return Err(garbled("it is not a range of series")) };
    let moment = |s: f64| Timestamp::from_millis((s * 1_000.0).round() as i64);
    let value = |text: &str| text.parse::<f64>().map_err(|_| garbled("a value is not a number"));
    series
        .into_iter()
        .map(|s| {
            let values = s.values.iter().map(|(at, text)| Ok((moment(*at), value(text)?))).collect::<Result<_, _>>()?;
            Ok(Labelled { labels: s.metric, values })
        })
        .collect()
}

fn number(text: &str) -> Result<Value, Unread> {
    let special = match text {
        "NaN" | "+Inf" | "-Inf" => return Ok(Value::String(text.to_owned())),
        "Inf" => return Ok(Value::String("+Inf".to_owned())),
        other => other.parse::<f64>().ok().and_then(serde_json::Number::from_f64),
    };
    special.map(Value::Number).ok_or_else(|| Unread::Garbled(cut(&format!("{text:?} is not a number"))))
}

fn seconds(at: Timestamp) -> String {
    let ms = at.as_millis();
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Result<Value, &str>) {
        match (read(body.as_bytes()), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{body}"),
            (Err(Unread::Refused(e) | Unread::Garbled(e)), Err(says)) => assert!(e.contains(says), "{body}: {e}"),
            (got, expected) => panic!("{body}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn answers() {
        let ok = |data: &str| format!(r#"{{"status":"success","data":{data}}}"#);
        check(&ok(r#"{"resultType":"vector","result":[]}"#), Ok(json!([])));
        check(
            &ok(
                r#"{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.25"]},{"metric":{"a":"b"},"value":[1,"NaN"]}]}"#,
            ),
            Ok(json!([0.25, "NaN"])),
        );
        check(
            &ok(
                r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"+Inf"]},{"metric":{},"value":[1,"-Inf"]}]}"#,
            ),
            Ok(json!(["+Inf", "-Inf"])),
        );
        check(&ok(r#"{"resultType":"scalar","result":[1.5,"3"]}"#), Ok(json!(3.0)));
        check(&ok(r#"{"resultType":"scalar","result":[1.5,"1e-7"]}"#), Ok(json!(1e-7)));
        check(
            &ok(
                r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"2"]]},{"metric":{},"values":[[1,"3"]]}]}"#,
            ),
            Ok(json!([1.0, 2.0, 3.0])),
        );
        check(&ok(r#"{"resultType":"string","result":[1,"x"]}"#), Err("string"));
        check(&ok(r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}"#), Err("native histogram"));
        check(&ok(r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}"#), Err("not a number"));
        check(&ok(r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"infinity"]}]}"#), Err("not a number"));
        check(r#"{"status":"success"}"#, Err("no data"));
        check(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, Err("parse error"));
        check("<html>", Err("not an answer"));
        check("", Err("not an answer"));
        check(&"[".repeat(100_000), Err("not an answer"));
    }

    #[test]
    fn too_many_values() {
        let values = vec![r#"[1,"1"]"#; MAX_VALUES + 1].join(",");
        check(
            &format!(
                r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{values}]}}]}}}}"#
            ),
            Err("11001 values"),
        );
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
        }
    }
}
