//! `deliveryos.toml`: the only place where commands, migrations and addresses come from.
//!
//! Unknown fields are refused, and every error names the line. A file is read whole and checked before anything starts.

mod admission;
mod catalogue;
mod delivery;
mod identity;
mod judge;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use model::{Digest, Environment, ServiceId, Version};
use serde::Deserialize;

pub use admission::AdmissionConfig;
pub use catalogue::ConfigCatalogue;
pub use delivery::{AttestationsConfig, EnvironmentConfig, FreezeConfig, IdentityConfig, PolicyConfig, Statement};
pub use identity::{IdentityError, process_digest};
pub use judge::JudgeConfig;

use crate::exit::WrongUse;

/// Largest configuration file: a thousand versions are some 200 kB.
pub const MAX_FILE: u64 = 1024 * 1024;
/// Most versions of one service: what a person can still read; old ones can be taken out.
const MAX_VERSIONS: usize = 1_000;
/// Most migrations.
const MAX_MIGRATIONS: usize = 200;
/// Longest time for a migration: past an hour the recovery time that an envelope promises means nothing.
const MAX_MIGRATION_SECONDS: u64 = 3_600;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the pages.
    pub listen: SocketAddr,
    /// Address by which browsers reach the pages, when it is another than `listen` (a proxy with TLS, a host name).
    pub public_url: Option<PublicUrl>,
    /// The log.
    pub log: LogConfig,
    /// The log of signatures.
    pub rekor: RekorConfig,
    /// The data plane.
    pub splitter: SplitterConfig,
    /// The services, by name.
    pub services: BTreeMap<ServiceId, ServiceConfig>,
    /// Down-migrations that a release may name.
    pub down_migrations: BTreeMap<String, MigrationConfig>,
    /// Metric sources that recipes may ask, by name.
    pub metrics: BTreeMap<String, MetricConfig>,
    /// Environments that images are promoted into.
    pub environments: BTreeMap<Environment, EnvironmentConfig>,
    /// Whose attestations count.
    pub attestations: AttestationsConfig,
    /// The webhook that a cluster asks whether a pod may run.
    pub admission: Option<AdmissionConfig>,
}

/// `https://host[:port]`: no path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    /// `https` or `http`.
    pub scheme: String,
    /// Host with the port, if it is not the scheme's own, as browsers send it.
    pub authority: String,
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Its name, the first line of its checkpoints. A log keeps its name.
    pub origin: Option<String>,
    /// True: `/checkpoint` and the tiles of hashes are for everybody. Entries always need the role viewer.
    pub public: bool,
}

/// The log of signatures, served under `/rekor`. It is public as far as the log is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RekorConfig {
    /// Its name: the name of a host, as rekor.example.com. A log keeps its name.
    pub origin: Option<String>,
}

/// The data plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitterConfig {
    /// Threads that proxy; 0 = one per core.
    pub workers: usize,
    /// Address of its Prometheus endpoint.
    pub metrics_listen: Option<SocketAddr>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Where its releases go, in words: `production`.
    #[serde(default = "production")]
    pub environment: Environment,
    /// Where its traffic goes in.
    pub listen: Vec<SocketAddr>,
    /// The version that is there before the first release.
    pub stable: Version,
    /// When the server has been gone for so long while a canary has traffic, its traffic goes back to stable, s.
    #[serde(default)]
    pub dead_man_seconds: Option<u32>,
    /// Sticks requests that carry a key to a version.
    #[serde(default)]
    pub sticky: Option<StickyConfig>,
    /// What a release needs before it starts; nothing when left out.
    #[serde(default)]
    pub policy: Option<PolicyConfig>,
    /// Where the sequential judge gets its counts; from the data plane when left out.
    #[serde(default)]
    pub judge: Option<JudgeConfig>,
    /// The versions, by label.
    pub versions: BTreeMap<Version, VersionConfig>,
}

/// What sticks a request to a version: exactly one of both.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum StickyConfig {
    /// The value of this header.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// A version: a command, or an address that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionConfig {
    /// Identity of what runs. Computed for a command when left out ([`process_digest`]); required with `url`.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Program and arguments; `{port}` is replaced by the port given, which is also in the variable `PORT`.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// `http://host:port`.
    #[serde(default)]
    pub url: Option<String>,
    /// Further environment of the command.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Path answered with 2xx when ready. Without one a command is asked at `/`, and a url is ready when it accepts a connection.
    #[serde(default)]
    pub health_path: Option<String>,
}

/// A down-migration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationConfig {
    /// Program and arguments. The variable `DELIVERYOS_OPERATION` is the same when it is run again after a crash.
    pub command: Vec<String>,
    /// Ended after so many seconds.
    #[serde(default = "ten_minutes")]
    pub timeout_seconds: u64,
}

/// A metric source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// Its address; a path restricts what may be asked to what lies below it.
    pub url: String,
    /// Headers sent with each request: name of the header → name of the environment variable that holds its value.
    #[serde(default)]
    pub headers_from_env: BTreeMap<String, String>,
}

fn production() -> Environment {
    // A valid name by construction; the fallback is never taken.
    "production".parse().unwrap_or_else(|_| unreachable!())
}
fn ten_minutes() -> u64 {
    600
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            public_url: None,
            log: LogConfig::default(),
            rekor: RekorConfig::default(),
            splitter: SplitterConfig::default(),
            services: BTreeMap::new(),
            down_migrations: BTreeMap::new(),
            metrics: BTreeMap::new(),
            environments: BTreeMap::new(),
            attestations: AttestationsConfig::default(),
            admission: None,
        }
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("public_url is like https://deliveries.example.com, without a path: {text:?}");
        let url = reqwest::Url::parse(&text).map_err(|_| wrong())?;
        let plain = matches!(url.scheme(), "https" | "http")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str().filter(|_| plain).ok_or_else(wrong)?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme: url.scheme().to_owned(), authority })
    }
}

impl PublicUrl {
    /// The origin as browsers write it.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

impl Config {
    /// Reads and checks a file. Relative programs are looked up from the working directory.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let meta = std::fs::metadata(path)
            .map_err(|e| WrongUse(format!("the configuration {} cannot be read: {e}", path.display())))?;
        if meta.len() > MAX_FILE {
            return Err(WrongUse(format!(
                "the configuration {} is larger than {} kB",
                path.display(),
                MAX_FILE / 1024
            ))
            .into());
        }
        // Its length as it was said may not be all that comes.
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
            .map_err(|e| WrongUse(format!("the configuration {} cannot be read: {e}", path.display())))?;
        if text.len() as u64 > MAX_FILE {
            let kb = MAX_FILE / 1024;
            return Err(WrongUse(format!("the configuration {} is larger than {kb} kB", path.display())).into());
        }
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// Reads and checks a text. Errors name the line.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| WrongUse(said(text, &error)))?;
        config.check().map_err(WrongUse)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(bad) = self.rekor.origin.as_deref().filter(|origin| !rekor::is_origin(origin)) {
            return Err(format!(
                "rekor.origin: the name of a host, as rekor.example.com, without port and path: {bad:?}"
            ));
        }
        if self.down_migrations.len() > MAX_MIGRATIONS {
            return Err(format!("at most {MAX_MIGRATIONS} down_migrations"));
        }
        for (name, migration) in &self.down_migrations {
            if name == "none" || name.is_empty() || name.len() > 80 || name.chars().any(char::is_control) {
                return Err(format!("down_migrations.{name}: a name of 1 to 80 characters that is not \"none\""));
            }
            if migration.command.first().is_none_or(String::is_empty) {
                return Err(format!("down_migrations.{name}.command: a program and its arguments"));
            }
            if !(1..=MAX_MIGRATION_SECONDS).contains(&migration.timeout_seconds) {
                return Err(format!("down_migrations.{name}.timeout_seconds: 1 to {MAX_MIGRATION_SECONDS}"));
            }
        }
        let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::from([(self.listen, "listen".to_owned())]);
        if let Some(admission) = &self.admission {
            admission.check()?;
            if let Some(other) = taken.insert(admission.listen, "admission.listen".to_owned()) {
                return Err(format!("admission.listen: {} is taken by {other}", admission.listen));
            }
        }
        for (name, service) in &self.services {
            let at = format!("services.{name}");
            if service.listen.is_empty() {
                return Err(format!("{at}.listen: at least one address"));
            }
            for address in service.listen.iter().filter(|a| a.port() != 0) {
                if let Some(other) = taken.insert(*address, format!("{at}.listen")) {
                    return Err(format!("{at}.listen: {address} is taken by {other}"));
                }
            }
            if service.versions.len() > MAX_VERSIONS {
                return Err(format!("{at}.versions: at most {MAX_VERSIONS}"));
            }
            if !service.versions.contains_key(&service.stable) {
                return Err(format!("{at}.stable: there is no [services.{name}.versions.\"{}\"]", service.stable));
            }
            if let Some(judge) = &service.judge {
                judge.check(|name| self.metrics.contains_key(name)).map_err(|why| format!("{at}.judge{why}"))?;
            }
            for (label, version) in &service.versions {
                version.check().map_err(|why| format!("{at}.versions.{label}{why}"))?;
            }
        }
        delivery::check(self)
    }
}

impl VersionConfig {
    fn check(&self) -> Result<(), String> {
        match (&self.command, &self.url) {
            (Some(_), Some(_)) => Err(": either command or url, not both".to_owned()),
            (None, None) => Err(": a command or a url".to_owned()),
            (Some(command), None) if command.first().is_none_or(String::is_empty) => {
                Err(".command: a program and its arguments".to_owned())
            }
            (None, Some(_)) if self.digest.is_none() => {
                Err(".digest: what runs at a url cannot be read from here: give its image's digest".to_owned())
            }
            _ if self.health_path.as_ref().is_some_and(|path| !path.starts_with('/')) => {
                Err(".health_path: a path that begins with /".to_owned())
            }
            (None, Some(url)) => splitter::check_url(url).map_err(|why| format!(".url: {why}")),
            _ => Ok(()),
        }
    }
}

/// The error on one line, with the place in the file.
fn said(text: &str, error: &toml::de::Error) -> String {
    let mut said = String::new();
    if let Some(span) = error.span() {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let _ = write!(said, "line {line}, column {column}: ");
    }
    said.push_str(error.message());
    said
}

/// Where the state is when nothing else is said: `$XDG_DATA_HOME/deliveryos`, else `~/.local/share/deliveryos`
/// (`~/Library/Application Support/deliveryos` on macOS).
pub fn default_data_dir(name: &str) -> anyhow::Result<PathBuf> {
    let set = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(base) = set("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
        return Ok(base.join(name));
    }
    let home = set("HOME").ok_or_else(|| WrongUse("there is no home directory: say --data-dir DIR".to_owned()))?;
    let base = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    Ok(home.join(base).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        listen = "127.0.0.1:3100"
        public_url = "https://deliveries.example.com"
        [log]
        public = true
        [rekor]
        origin = "rekor.example.com"
        [services.checkout]
        listen = ["127.0.0.1:8080"]
        stable = "v1"
        sticky = { cookie = "uid" }
        [services.checkout.versions.v1]
        command = ["./checkout", "--port", "{port}"]
        health_path = "/healthz"
        [services.checkout.versions.v2]
        url = "http://127.0.0.1:9001"
        digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        [down_migrations.undo-orders]
        command = ["./migrate", "down"]
        [metrics.prometheus]
        url = "http://127.0.0.1:9090"
        headers_from_env = { Authorization = "PROMETHEUS_AUTH" }
    "#;

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(WHOLE).unwrap();
        assert_eq!(config.public_url.unwrap().origin(), "https://deliveries.example.com");
        assert_eq!(config.services.len(), 1);
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_example_is_read() {
        let text = include_str!("../../examples/deliveryos.toml");
        assert!(!Config::parse(text).unwrap().services.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let error = Config::parse(&WHOLE.replace(from, to)).unwrap_err();
            assert_eq!(crate::exit::code(&error), crate::exit::WRONG_USE);
            let said = crate::exit::chain(&error);
            assert!(said.contains(expected), "{from:?} -> {to:?}: {said}");
        };
        check("listen = \"127.0.0.1:3100\"", "lisen = \"127.0.0.1:3100\"", "line 2, column 9: unknown field `lisen`");
        check("\"127.0.0.1:3100\"", "\"localhost\"", "line 2");
        check("[log]", "[log", "line 4");
        check("public = true", "public = \"yes\"", "line 5");
        check("\"rekor.example.com\"", "\"https://rekor.example.com/log\"", "rekor.origin: the name of a host");
        check("stable = \"v1\"", "stable = \"v9\"", "services.checkout.stable: there is no");
        check("sticky = { cookie = \"uid\" }", "sticky = { ip = \"x\" }", "unknown variant `ip`");
        check("[services.checkout]", "[services.Checkout]", "a service name");
        check("127.0.0.1:8080", "127.0.0.1:3100", "127.0.0.1:3100 is taken by listen");
        check("health_path = \"/healthz\"", "health_path = \"healthz\"", "health_path");
        check("url = \"http://127.0.0.1:9001\"\n", "command = []\n", "versions.v2.command");
        check(
            "url = \"http://127.0.0.1:9001\"",
            "url = \"https://shop.example\"",
            "https to a version is not supported",
        );
        check(
            "url = \"http://127.0.0.1:9001\"",
            "url = \"ftp://x\"",
            "versions.v2.url: \"ftp://x\" is not http://host:port",
        );
        check("url = \"http://127.0.0.1:9001\"", "url = \"http://a:1/path\"", "is not http://host:port");
        check(
            "digest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
            "",
            "versions.v2.digest",
        );
        check("https://deliveries.example.com", "https://deliveries.example.com/ui", "without a path");
        check("https://deliveries.example.com", "javascript:alert(1)", "without a path");
        check(
            "command = [\"./migrate\", \"down\"]",
            "command = [\"./migrate\"]\ntimeout_seconds = 0",
            "timeout_seconds",
        );
    }
}
