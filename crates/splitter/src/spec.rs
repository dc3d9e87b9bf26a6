//! What a service and its versions are, as the server describes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::control::Refusal;

/// Most services of one splitter: each has listeners, histograms of 2 × 17,000 buckets and up to 15 minutes of ticks.
pub const MAX_SERVICES: usize = 64;
/// Most addresses of one service: IPv4 and IPv6 of a few interfaces.
const MAX_LISTEN: usize = 8;
/// Longest id or label: a digest has 71 characters.
const MAX_NAME: usize = 200;
/// Most arguments of a command.
const MAX_ARGUMENTS: usize = 256;
/// Most environment variables given.
const MAX_ENVIRONMENT: usize = 256;
/// Longest argument, variable or path: half of what the kernel takes for one (`MAX_ARG_STRLEN`).
const MAX_TEXT: usize = 64 * 1024;

/// A service: addresses in front, at most two versions behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Id, never changes.
    pub service: String,
    /// Addresses to listen on; port 0 takes a free one. An address that is listened on already stays open.
    pub listen: Vec<SocketAddr>,
    /// Limits of its connections and requests.
    #[serde(default)]
    pub limits: Limits,
    /// Sticks requests that carry a key to a version.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Believe and extend `X-Forwarded-*` and `Forwarded` of requests. Otherwise they are replaced: right when clients
    /// connect directly.
    #[serde(default)]
    pub trust_forwarded: bool,
    /// When no controller has been heard for so long while the canary has a weight, the weight goes to 0.
    #[serde(default)]
    pub dead_man_seconds: Option<u32>,
    /// The stable version; `None` leaves the slot as it is.
    #[serde(default)]
    pub stable: Option<VersionSpec>,
    /// The canary; `None` leaves the slot as it is.
    #[serde(default)]
    pub canary: Option<VersionSpec>,
}

/// A version of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSpec {
    /// Id, unique within the service and never used for another definition.
    pub version: String,
    /// Label for people and metrics.
    pub release: String,
    /// Digest of the artifact, as a label.
    #[serde(default)]
    pub digest: String,
    /// Where it runs.
    pub source: Source,
    /// How readiness is found out.
    #[serde(default)]
    pub health: Health,
    /// Protocol spoken to it.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Where a version runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A child process that serves on 127.0.0.1 and the port given in `{port}` arguments and the variable `PORT`.
    Process {
        /// Program and arguments.
        command: Vec<String>,
        /// Variables on top of the splitter's own environment.
        #[serde(default)]
        env: BTreeMap<String, String>,
        /// Working directory; the splitter's own when left out.
        #[serde(default)]
        directory: Option<String>,
        /// Port; a free one when left out.
        #[serde(default)]
        port: Option<u16>,
        /// From the first signal (`SIGTERM`) to the second (`SIGKILL`), ms.
        #[serde(default = "default_grace_ms")]
        grace_ms: u64,
    },
    /// `http://host:port`, run by somebody else.
    Url(String),
}

fn default_grace_ms() -> u64 {
    5_000
}

/// How readiness is found out: `GET path` answers 2xx or 3xx; without a path the port accepts a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Path asked.
    pub path: Option<String>,
    /// Time between two checks, ms. While starting it is asked more often.
    pub interval_ms: u64,
    /// Time for one check, ms.
    pub timeout_ms: u64,
    /// Failed checks in a row until it counts as unhealthy.
    pub threshold: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { path: None, interval_ms: 1_000, timeout_ms: 1_000, threshold: 3 }
    }
}

/// Protocol spoken to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, prior knowledge (gRPC).
    H2c,
}

/// Sticks requests to a version: the value's bucket `(murmur3_x86_32(value) * 100) >> 32` is canary when below the weight,
/// so a cohort only grows with the weight. Requests without the key are split by position; requests with it take no position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// The value of this header.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// Limits of a service's connections and requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Client connections at once. Further ones wait in the kernel's queue (1024) until one ends. 10,000 connections are
    /// some 200 MB and fit under a raised descriptor limit. A lower limit is in force once so many have ended.
    pub connections: usize,
    /// Connections to one version at once and worker thread; further requests are answered 503.
    pub upstream_connections: usize,
    /// Header lines of a request. 100 is what nginx and haproxy take.
    pub headers: usize,
    /// Bytes of a request's head. 64 KiB carries large cookies and tokens.
    pub head_bytes: usize,
    /// Bytes of a request's body; unlimited when left out (bodies stream, they are never held).
    pub body_bytes: Option<u64>,
    /// From the first byte of a request's head to its last, ms: against clients that trickle.
    pub head_ms: u64,
    /// A connection without a request for so long is closed, ms.
    pub keep_alive_ms: u64,
    /// To open a connection to a version, ms.
    pub connect_ms: u64,
    /// From the request sent on to the answer's head, ms. Not for upgrades once answered.
    pub answer_ms: u64,
    /// A transfer (request or answer body, upgraded connection) without a byte for so long is cut, ms.
    pub idle_ms: u64,
    /// An unused connection to a version is closed after this time, ms. Below the 5 s after which Node.js closes its end, so
    /// that a request does not meet a closing connection.
    pub upstream_idle_ms: u64,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            upstream_connections: 4_096,
            headers: 100,
            head_bytes: 64 * 1024,
            body_bytes: None,
            head_ms: 10_000,
            keep_alive_ms: 75_000,
            connect_ms: 2_000,
            answer_ms: 60_000,
            idle_ms: 300_000,
            upstream_idle_ms: 4_000,
            streams: 250,
        }
    }
}

impl ServiceSpec {
    /// Checks everything that can be checked without acting.
    pub fn validate(&self) -> Result<(), Refusal> {
        name("service", &self.service)?;
        if self.listen.is_empty() || self.listen.len() > MAX_LISTEN {
            return invalid("listen", format!("1 to {MAX_LISTEN} addresses"));
        }
        self.limits.validate()?;
        match &self.sticky {
            Some(Sticky::Header(header)) if http::HeaderName::from_bytes(header.as_bytes()).is_err() => {
                return invalid("sticky.header", format!("{header:?} is not a header's name"));
            }
            Some(Sticky::Cookie(cookie)) => name("sticky.cookie", cookie)?,
            Some(Sticky::Header(_)) | None => {}
        }
        if self.dead_man_seconds == Some(0) {
            return invalid("dead_man_seconds", "at least 1".into());
        }
        for version in [&self.stable, &self.canary].into_iter().flatten() {
            version.validate()?;
        }
        if let (Some(stable), Some(canary)) = (&self.stable, &self.canary)
            && stable.version == canary.version
        {
            return invalid("canary.version", "stable has the same id".into());
        }
        Ok(())
    }
}

impl VersionSpec {
    /// Checks everything that can be checked without acting.
    pub fn validate(&self) -> Result<(), Refusal> {
        name("version", &self.version)?;
        name("release", &self.release)?;
        if self.digest.len() > MAX_NAME {
            return invalid("digest", format!("at most {MAX_NAME} characters"));
        }
        if let Some(path) = &self.health.path
            && (!path.starts_with('/') || path.len() > MAX_TEXT || path.parse::<http::uri::PathAndQuery>().is_err())
        {
            return invalid("health.path", format!("{path:?} is not a path that starts with /"));
        }
        in_range("health.interval_ms", self.health.interval_ms, 50, 3_600_000)?;
        in_range("health.timeout_ms", self.health.timeout_ms, 10, 600_000)?;
        in_range("health.threshold", u64::from(self.health.threshold), 1, 1_000)?;
        match &self.source {
            Source::Process { command, env, directory, port, grace_ms } => {
                if command.is_empty() || command.len() > MAX_ARGUMENTS || command.first().is_some_and(String::is_empty)
                {
                    return invalid(
                        "source.process.command",
                        format!("a program and at most {MAX_ARGUMENTS} arguments"),
                    );
                }
                if env.len() > MAX_ENVIRONMENT {
                    return invalid("source.process.env", format!("at most {MAX_ENVIRONMENT} variables"));
                }
                let texts = command.iter().chain(env.keys()).chain(env.values()).chain(directory);
                if texts.clone().any(|text| text.len() > MAX_TEXT || text.contains('\0'))
                    || env.keys().any(|key| key.is_empty() || key.contains('='))
                {
                    return invalid(
                        "source.process",
                        format!("texts have at most {MAX_TEXT} bytes and no NUL, names no ="),
                    );
                }
                if *port == Some(0) {
                    return invalid("source.process.port", "leave it out for a free port".into());
                }
                in_range("source.process.grace_ms", *grace_ms, 0, 600_000)
            }
            Source::Url(url) => authority(url).map(drop),
        }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), Refusal> {
        in_range("limits.connections", self.connections as u64, 1, 1_000_000)?;
        in_range("limits.upstream_connections", self.upstream_connections as u64, 1, 1_000_000)?;
        in_range("limits.headers", self.headers as u64, 1, 10_000)?;
        // hyper's smallest read buffer is 8 KiB.
        in_range("limits.head_bytes", self.head_bytes as u64, 8_192, 16 << 20)?;
        in_range("limits.streams", u64::from(self.streams), 1, 10_000)?;
        for (field, value) in [
            ("limits.head_ms", self.head_ms),
            ("limits.keep_alive_ms", self.keep_alive_ms),
            ("limits.connect_ms", self.connect_ms),
            ("limits.answer_ms", self.answer_ms),
            ("limits.idle_ms", self.idle_ms),
            ("limits.upstream_idle_ms", self.upstream_idle_ms),
        ] {
            in_range(field, value, 1, 86_400_000)?;
        }
        Ok(())
    }
}

/// Whether a version can be reached at this address: why not, in words.
pub fn check_url(url: &str) -> Result<(), String> {
    match authority(url) {
        Ok(_) => Ok(()),
        Err(Refusal::Invalid { reason, .. }) => Err(reason),
        Err(other) => Err(other.to_string()),
    }
}

/// Host and port of `http://host:port`.
pub(crate) fn authority(url: &str) -> Result<http::uri::Authority, Refusal> {
    let field = "source.url";
    let uri: http::Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => return invalid(field, format!("{url:?}: {error}")),
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority))
            if matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@') =>
        {
            Ok(authority.clone())
        }
        (Some("https"), _) => invalid(
            field,
            format!(
                "{url:?}: https to a version is not supported, because the splitter has no way to be told whose certificates to \
                 trust: name an http address, of a TLS proxy on this machine say"
            ),
        ),
        _ => invalid(field, format!("{url:?} is not http://host:port")),
    }
}

fn name(field: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() || value.len() > MAX_NAME || value.chars().any(char::is_control) {
        return invalid(field, format!("1 to {MAX_NAME} characters, no control characters"));
    }
    Ok(())
}

fn in_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if value < least || value > most {
        return invalid(field, format!("{value} is not between {least} and {most}"));
    }
    Ok(())
}

fn invalid<T>(field: &str, reason: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid { field: field.to_owned(), reason })
}
