//! Metric sources over HTTP: `prometheus` and `web`, as Argo Rollouts' analysis templates name them.
//!
//! Both implement `controller::MetricSource`: ask once, answer or fail within the time limit, never judge.
//!
//! # What may be asked
//! Only what the server's configuration names ([`Allowed`]). A recipe refers to a source by its name or by an address whose
//! scheme, host, port and leading path are those of a configured one; anything else is [`MetricError::NotAllowed`].
//! Redirects are not followed, the environment's proxies are not used, and credentials come from the
//! configuration alone: they are sent to their own source only and appear in no answer, error or log.
//!
//! # Limits
//! Bodies, samples, headers, queries and time are bounded by named constants; compressed bodies are not asked for.
//! A source that is down, slow, garbled or too talkative is a [`MetricError`], which counts as a measurement's `Error`
//! and never as a verdict about the canary.

mod allow;
mod counters;
mod fetch;
mod jsonpath;
mod prometheus;
mod web;

pub use allow::{Allowed, ConfigError, Secret, SourceConfig};
pub use controller::{CounterAsk, CounterQueries, Counters, MetricAnswer, MetricError, MetricSource};
pub use jsonpath::{JsonPath, JsonPathError};
pub use prometheus::PrometheusSource;
pub use web::WebSource;

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod real_prometheus_tests;
