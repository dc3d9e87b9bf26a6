//! Which addresses may be asked, and with which credentials.

use std::{collections::BTreeMap, fmt, sync::Arc};

use controller::MetricError;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

/// Most configured sources: a table that a person can read.
const MAX_SOURCES: usize = 64;

/// Most headers of one source or one request.
const MAX_HEADERS: usize = 32;

/// Longest address: what common servers accept as a request line.
pub(crate) const MAX_ADDRESS: usize = 4_096;

/// Headers that belong to the connection, or would let a recipe speak for somebody else: only the configuration may set the first
/// two, nobody the rest.
const CONFIGURED_ONLY: [&str; 2] = ["authorization", "cookie"];
const NEVER: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "proxy-authorization",
    "expect",
];

/// Text that is never shown.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// One source, as the server's configuration states it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its address, `http` or `https`, without credentials, query or fragment. A path restricts what may be asked to what lies below it.
    pub url: String,
    /// Headers sent with every request, e.g. `Authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Too many.
    #[error("{0} metric sources are configured, {max} are allowed", max = MAX_SOURCES)]
    TooMany(usize),
    /// The address is not one.
    #[error(
        "the address of metric source {0:?} must be http:// or https:// with a host, and no user, query or fragment"
    )]
    Address(String),
    /// A header cannot be sent.
    #[error("metric source {source_name:?} has a header {header:?} that cannot be sent")]
    Header {
        /// The source.
        source_name: String,
        /// The header's name.
        header: String,
    },
    /// The TLS library did not start.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
}

/// The sources that may be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Allowed {
    sources: Arc<Vec<Source>>,
    pub(crate) client: reqwest::Client,
}

#[derive(Debug)]
struct Source {
    name: String,
    url: Url,
    headers: HeaderMap,
}

/// An address that may be asked, and the headers that the configuration gives it.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
}

impl Allowed {
    /// Checks the configuration: name of the source → where and how.
    pub fn new(sources: &BTreeMap<String, SourceConfig>) -> Result<Self, ConfigError> {
        if sources.len() > MAX_SOURCES {
            return Err(ConfigError::TooMany(sources.len()));
        }
        let sources = sources.iter().map(|(name, config)| Source::new(name, config)).collect::<Result<Vec<_>, _>>()?;
        let client = crate::fetch::client().map_err(|e| ConfigError::Client(e.to_string()))?;
        Ok(Self { sources: Arc::new(sources), client })
    }

    /// True when nothing may be asked.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The address that a recipe names: by a source's name, by a full address, or, when empty, the only source there is.
    pub(crate) fn permit(&self, address: &str) -> Result<Permit, MetricError> {
        let refused = || MetricError::NotAllowed(shown(address));
        if address.len() > MAX_ADDRESS {
            return Err(refused());
        }
        if address.is_empty() {
            let [only] = self.sources.as_slice() else {
                return Err(MetricError::NotAllowed("(no address)".to_owned()));
            };
            return Ok(only.permit(only.url.clone()));
        }
        if let Some(source) = self.sources.iter().find(|s| s.name == address) {
            return Ok(source.permit(source.url.clone()));
        }
        let url = Url::parse(address).map_err(|_| refused())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused());
        }
        let source = self.sources.iter().find(|s| s.covers(&url)).ok_or_else(refused)?;
        Ok(source.permit(url))
    }
}

impl Source {
    fn new(name: &str, config: &SourceConfig) -> Result<Self, ConfigError> {
        let bad = || ConfigError::Address(name.to_owned());
        let url = Url::parse(&config.url).map_err(|_| bad())?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain || config.url.len() > MAX_ADDRESS {
            return Err(bad());
        }
        let header_error =
            |header: &str| ConfigError::Header { source_name: name.to_owned(), header: header.to_owned() };
        if config.headers.len() > MAX_HEADERS {
            return Err(header_error("(too many)"));
        }
        let mut headers = HeaderMap::new();
        for (key, value) in &config.headers {
            let (key_, mut value) = header(key, &value.0).ok_or_else(|| header_error(key))?;
            value.set_sensitive(true);
            headers.insert(key_, value);
        }
        Ok(Self { name: name.to_owned(), url, headers })
    }

    /// Same scheme, host and port, and a path at or below the configured one.
    fn covers(&self, url: &Url) -> bool {
        let below = self.url.path().trim_end_matches('/');
        url.origin() == self.url.origin()
            && url.path().strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn permit(&self, url: Url) -> Permit {
        Permit { url, headers: self.headers.clone() }
    }
}

impl Permit {
    /// The configured headers, and those of a recipe that a recipe may set; the configured ones win.
    pub(crate) fn with_headers<'a>(
        mut self,
        recipe: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, MetricError> {
        for (count, (key, value)) in recipe.into_iter().enumerate() {
            let refused = |why: &str| MetricError::NotSupported(format!("with the header {key:?}: {why}"));
            if count >= MAX_HEADERS {
                return Err(refused("too many headers"));
            }
            let (name, value) = header(key, value).ok_or_else(|| refused("it cannot be sent"))?;
            if CONFIGURED_ONLY.contains(&name.as_str()) && !self.headers.contains_key(&name) {
                return Err(refused("credentials are set in the server's configuration"));
            }
            if !self.headers.contains_key(&name) {
                self.headers.insert(name, value);
            }
        }
        Ok(self)
    }

    /// The address without query and fragment, for answers and errors.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

fn header(key: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(key.as_bytes()).ok()?;
    if NEVER.contains(&name.as_str()) {
        return None;
    }
    Some((name, HeaderValue::from_str(value).ok()?))
}

/// An address from a recipe, cut and without credentials and query.
fn shown(address: &str) -> String {
    let cut: String = address.chars().filter(|c| !c.is_control()).take(120).collect();
    match Url::parse(&cut) {
        Ok(mut url) => {
            // Both fail only for addresses without a host, which have no credentials.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(sources: &[(&str, &str)]) -> Result<Allowed, ConfigError> {
        Allowed::new(
            &sources
                .iter()
                .map(|(n, u)| ((*n).to_owned(), SourceConfig { url: (*u).to_owned(), headers: BTreeMap::new() }))
                .collect(),
        )
    }

    #[track_caller]
    fn check(address: &str, url: Option<&str>) {
        let allowed = allowed(&[("prom", "http://127.0.0.1:9090"), ("web", "https://example.test/health/")]).unwrap();
        assert_eq!(allowed.permit(address).ok().map(|p| p.url.to_string()).as_deref(), url, "{address}");
    }

    #[test]
    fn only_what_is_configured_may_be_asked() {
        check("prom", Some("http://127.0.0.1:9090/"));
        check("http://127.0.0.1:9090", Some("http://127.0.0.1:9090/"));
        check("http://127.0.0.1:9090/prefix", Some("http://127.0.0.1:9090/prefix"));
        check("https://example.test/health", Some("https://example.test/health"));
        check("https://example.test/health/a?b=c", Some("https://example.test/health/a?b=c"));
        check("https://example.test:443/health", Some("https://example.test/health"));
        for refused in [
            "",
            "other",
            "http://127.0.0.1:9091",
            "https://127.0.0.1:9090",
            "http://localhost:9090",
            "http://127.0.0.1:9090@evil.test/",
            "http://user@127.0.0.1:9090/",
            "http://2130706433:9091/",
            "https://example.test/",
            "https://example.test/healthy",
            "https://example.test/health/../admin",
            "https://example.test/health/%2e%2e/admin",
            "https://example.test.evil.test/health",
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data",
        ] {
            check(refused, None);
        }
        assert!(allowed(&[("one", "http://h")]).unwrap().permit("").is_ok(), "the only one there is");
    }

    #[test]
    fn configurations_that_cannot_be_used() {
        for bad in ["ftp://h", "http://", "h", "http://u:p@h", "http://h?q", "http://h#f", ""] {
            assert!(matches!(allowed(&[("x", bad)]), Err(ConfigError::Address(_))), "{bad}");
        }
        let many: BTreeMap<_, _> = (0..65)
            .map(|i| (i.to_string(), SourceConfig { url: "http://h".to_owned(), headers: BTreeMap::new() }))
            .collect();
        assert_eq!(Allowed::new(&many).unwrap_err(), ConfigError::TooMany(65));
    }

    #[test]
    fn secrets_are_never_shown() {
        let headers = BTreeMap::from([("Authorization".to_owned(), Secret::new("Bearer hunter2"))]);
        let config = SourceConfig { url: "http://h".to_owned(), headers };
        assert!(!format!("{config:?}").contains("hunter2"));
        let allowed = Allowed::new(&BTreeMap::from([("x".to_owned(), config)])).unwrap();
        assert!(!format!("{allowed:?} {:?}", allowed.permit("x")).contains("hunter2"));
        let error = allowed.permit("http://me:hunter2@h/").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn recipes_may_not_set_credentials_or_framing() {
        let allowed = allowed(&[("x", "http://h")]).unwrap();
        for bad in ["Authorization", "Cookie", "Host", "Content-Length", "Transfer-Encoding", "a b"] {
            assert!(allowed.permit("x").unwrap().with_headers([(bad, "v")]).is_err(), "{bad}");
        }
        assert!(allowed.permit("x").unwrap().with_headers([("x-a", "a\r\nb: c")]).is_err());
        assert!(allowed.permit("x").unwrap().with_headers([("x-scope-orgid", "1")]).is_ok());
    }
}
