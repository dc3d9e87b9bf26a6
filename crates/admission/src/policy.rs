//! What an image must bring, in TOML; beside it sigstore's `ClusterImagePolicy` documents in YAML.
//!
//! ```toml
//! mode = "enforce"                   # or "warn", "audit": what a refusal does
//! tags = "refuse"                    # or "pin": resolve once, and let the mutating webhook write the digest into the object
//!
//! [[policies]]
//! name = "shop"
//! images = ["registry.example.com/shop/**"]
//! namespaces = ["shop", "shop-staging"]   # left out: everywhere
//! mode = "warn"                      # left out: as above
//!
//! [[policies.require]]               # each of them
//! name = "provenance"
//! statement = "https://slsa.dev/provenance/v1"   # left out: a signature of the image
//! identity = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main"   # or identity_pattern
//! issuer = "https://token.actions.githubusercontent.com"                                     # or issuer_pattern
//!
//! [[policies.require]]
//! name = "scan"
//! statement = "https://cosign.sigstore.dev/attestation/vuln/v1"
//! key = """-----BEGIN PUBLIC KEY----- …"""
//! logged = false                     # left out: a transparency log must have seen it
//! max_age_hours = 168                # by the time that the signed document states, else the oldest that is proved
//!
//! [[exceptions]]
//! images = ["docker.io/library/postgres@sha256:…"]
//! namespaces = ["shop"]
//! owner = "dana"
//! reason = "the vendor does not sign yet"
//! expires = "2026-12-01T00:00:00Z"
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Digest, Timestamp};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Glob, ImageName, UnsupportedPolicy, cluster_image_policy, limits};

/// What a refusal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is noted.
    Audit,
    /// It is noted, and whoever asked is warned.
    Warn,
    /// It denies.
    Enforce,
}

/// What becomes of an image that is named by a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tags {
    /// It is refused.
    Refuse,
    /// The mutating webhook replaces it by its digest.
    Pin,
}

/// A text, or a pattern.
#[derive(Debug, Clone)]
pub enum Text {
    /// This one.
    Exact(String),
    /// What this expression matches.
    Pattern(Regex),
}

/// A person or workflow, by the word of an identity provider.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The person or workflow.
    pub subject: Text,
    /// The provider.
    pub issuer: Text,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// As PEM.
    pub pem: String,
    /// What bundles call it: SHA-256 of the key (SubjectPublicKeyInfo, DER), base64.
    pub hint: String,
}

/// Whose word counts.
#[derive(Debug, Clone)]
pub enum By {
    /// That of one of these.
    Keyless(Vec<Identity>),
    /// That of the key's holder.
    Key(KeyName),
    /// Nobody's: it passes.
    Pass,
    /// Nobody's: it fails, with this message.
    Fail(String),
}

/// What must have been signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// The image.
    Signature,
    /// A statement of this predicate type about it.
    Statement(String),
}

/// Somebody whose word is asked for.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its name, for messages.
    pub name: String,
    /// Whose word counts.
    pub by: By,
    /// What they must have signed: all of it.
    pub wants: Vec<Want>,
    /// A transparency log must have seen it.
    pub logged: bool,
    /// How old it may be, ms.
    pub max_age_ms: Option<i64>,
}

/// How many authorities must be content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// Each.
    All,
    /// One.
    Any,
}

/// What images of some names must bring.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which images.
    pub images: Vec<Glob>,
    /// In which namespaces; empty means everywhere.
    pub namespaces: Vec<String>,
    /// What a refusal does, where it is another than the set's.
    pub mode: Option<Mode>,
    /// How many of the authorities.
    pub quorum: Quorum,
    /// The authorities.
    pub authorities: Vec<Authority>,
}

/// An image that may run without its evidence, for a while, on somebody's word.
#[derive(Debug, Clone)]
pub struct Exception {
    /// Which images.
    pub images: Vec<Glob>,
    /// In which namespaces; empty means everywhere.
    pub namespaces: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires: Timestamp,
}

/// All policies.
#[derive(Debug, Clone)]
pub struct PolicySet {
    /// What a refusal does, where no policy says otherwise.
    pub mode: Mode,
    /// What becomes of tags.
    pub tags: Tags,
    /// The policies.
    pub policies: Vec<Policy>,
    /// The exceptions.
    pub exceptions: Vec<Exception>,
    /// The digest of all files: what a decision under them is kept under.
    pub digest: Digest,
}

/// Why files are no policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too much of something.
    #[error("{file}: more than {most} {what}")]
    TooMany {
        /// The file.
        file: String,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Neither TOML nor YAML by its name.
    #[error("{0}: a file of policies ends in .toml, .yaml, .yml or .json")]
    Name(String),
    /// It cannot be read.
    #[error("{file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// Something in it makes no sense.
    #[error("{file}: {what}: {why}")]
    Wrong {
        /// The file.
        file: String,
        /// Where in it.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A part of a `ClusterImagePolicy` that is not supported: ignoring it would admit more than it says.
    #[error("{file}: {why}")]
    Unsupported {
        /// The file.
        file: String,
        /// What.
        why: UnsupportedPolicy,
    },
    /// No policy at all.
    #[error("there is no policy: every image would be refused")]
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    tags: Option<Tags>,
    #[serde(default)]
    policies: Vec<RawPolicy>,
    #[serde(default)]
    exceptions: Vec<RawException>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    name: String,
    images: Vec<String>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    mode: Option<Mode>,
    require: Vec<RawRequire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequire {
    name: String,
    #[serde(default)]
    statement: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    identity_pattern: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    issuer_pattern: Option<String>,
    #[serde(default)]
    logged: Option<bool>,
    #[serde(default)]
    max_age_hours: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawException {
    images: Vec<String>,
    #[serde(default)]
    namespaces: Vec<String>,
    owner: String,
    reason: String,
    expires: Timestamp,
}

impl PolicySet {
    /// Reads files, each with its name: TOML as above, YAML or JSON as `ClusterImagePolicy` documents. Mode and tags may be said once.
    pub fn read(files: &[(String, Vec<u8>)]) -> Result<Self, PolicyError> {
        let all = "all files together";
        at_most(all, "files", files.len(), limits::POLICY_FILES)?;
        at_most(all, "bytes", files.iter().map(|(_, bytes)| bytes.len()).sum(), limits::POLICY_BYTES)?;
        let mut hash = Sha256::new();
        let (mut mode, mut tags) = (None, None);
        let (mut policies, mut exceptions) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            for part in [name.as_bytes(), bytes] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            match name.rsplit_once('.').map(|(_, end)| end) {
                Some("toml") => {
                    let file = own(name, bytes)?;
                    once(name, "mode", &mut mode, file.mode)?;
                    once(name, "tags", &mut tags, file.tags)?;
                    for raw in file.policies {
                        policies.push(policy(name, raw)?);
                    }
                    for raw in file.exceptions {
                        exceptions.push(exception(name, raw)?);
                    }
                }
                Some("yaml" | "yml" | "json") => policies.extend(cluster_image_policy::read(name, bytes)?),
                _ => return Err(PolicyError::Name(name.clone())),
            }
            at_most(name, "policies", policies.len(), limits::POLICIES)?;
            at_most(name, "exceptions", exceptions.len(), limits::EXCEPTIONS)?;
        }
        if policies.is_empty() && exceptions.is_empty() {
            return Err(PolicyError::None);
        }
        let mut names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            let why = "two policies have this name".to_owned();
            return Err(PolicyError::Wrong { file: all.to_owned(), what: (*twice).to_owned(), why });
        }
        Ok(Self {
            mode: mode.unwrap_or(Mode::Enforce),
            tags: tags.unwrap_or(Tags::Refuse),
            policies,
            exceptions,
            digest: Digest::from_sha256(&hash.finalize().into()),
        })
    }

    /// The keys that it names, each once.
    pub fn keys(&self) -> Vec<&KeyName> {
        let mut keys: Vec<&KeyName> = Vec::new();
        for authority in self.policies.iter().flat_map(|policy| &policy.authorities) {
            if let By::Key(key) = &authority.by
                && !keys.iter().any(|known| known.hint == key.hint)
            {
                keys.push(key);
            }
        }
        keys
    }

    /// The policies for an image in a namespace.
    pub(crate) fn covering(&self, image: &ImageName, namespace: &str) -> Vec<&Policy> {
        let covers = |p: &&Policy| meant(&p.images, &p.namespaces, image, namespace);
        self.policies.iter().filter(covers).collect()
    }

    /// The exceptions for an image in a namespace, whether they have expired or not.
    pub(crate) fn excepting(&self, image: &ImageName, namespace: &str) -> Vec<&Exception> {
        let covers = |e: &&Exception| meant(&e.images, &e.namespaces, image, namespace);
        self.exceptions.iter().filter(covers).collect()
    }
}

fn meant(images: &[Glob], namespaces: &[String], image: &ImageName, namespace: &str) -> bool {
    (namespaces.is_empty() || namespaces.iter().any(|known| known == namespace))
        && images.iter().any(|glob| glob.matches(image))
}

fn own(name: &str, bytes: &[u8]) -> Result<File, PolicyError> {
    let unreadable = |why: String| PolicyError::Unreadable { file: name.to_owned(), why };
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    toml::from_str(text).map_err(|error| unreadable(error.to_string().trim().chars().take(400).collect()))
}

fn once<T>(file: &str, what: &'static str, known: &mut Option<T>, said: Option<T>) -> Result<(), PolicyError> {
    if known.is_some() && said.is_some() {
        let why = "another file has said it already".to_owned();
        return Err(PolicyError::Wrong { file: file.to_owned(), what: what.to_owned(), why });
    }
    if said.is_some() {
        *known = said;
    }
    Ok(())
}

fn policy(file: &str, raw: RawPolicy) -> Result<Policy, PolicyError> {
    let name = sentence(file, "the name of a policy", raw.name)?;
    let at = format!("policy {name:?}");
    if raw.require.is_empty() {
        let why = "it requires nothing: give it [[policies.require]]".to_owned();
        return Err(PolicyError::Wrong { file: file.to_owned(), what: at, why });
    }
    at_most(file, "requirements in one policy", raw.require.len(), limits::ENTRIES)?;
    let images = globs(file, &at, &raw.images)?;
    let authorities = raw.require.into_iter().map(|raw| require(file, &at, raw)).collect::<Result<_, _>>()?;
    at_most(file, "namespaces in one policy", raw.namespaces.len(), limits::ENTRIES)?;
    Ok(Policy { name, images, namespaces: raw.namespaces, mode: raw.mode, quorum: Quorum::All, authorities })
}

fn require(file: &str, at: &str, raw: RawRequire) -> Result<Authority, PolicyError> {
    let name = sentence(file, "the name of a requirement", raw.name)?;
    let at = format!("{at}, {name:?}");
    let wrong = |why: &str| PolicyError::Wrong { file: file.to_owned(), what: at.clone(), why: why.to_owned() };
    let keyless = [&raw.identity, &raw.identity_pattern, &raw.issuer, &raw.issuer_pattern];
    let by = match (raw.key, keyless.iter().any(|text| text.is_some())) {
        (Some(_), true) => return Err(wrong("either a key, or identity and issuer")),
        (Some(pem), false) => By::Key(key(&pem).map_err(|why| wrong(&why))?),
        (None, _) => {
            let text = |exact: Option<String>, pattern: Option<String>, what: &str| match (exact, pattern) {
                (Some(exact), None) if !exact.is_empty() => Ok(Text::Exact(exact)),
                (None, Some(text)) => whole_pattern(&text).map(Text::Pattern).map_err(|why| wrong(&why)),
                _ => Err(wrong(&format!("exactly one of {what} and {what}_pattern, or a key"))),
            };
            let subject = text(raw.identity, raw.identity_pattern, "identity")?;
            let issuer = text(raw.issuer, raw.issuer_pattern, "issuer")?;
            By::Keyless(vec![Identity { subject, issuer }])
        }
    };
    let want = match raw.statement {
        None => Want::Signature,
        Some(statement) if is_uri(&statement) => Want::Statement(statement),
        Some(_) => return Err(wrong("a statement is named by the address of its predicate type")),
    };
    Ok(Authority {
        name,
        by,
        wants: vec![want],
        logged: raw.logged.unwrap_or(true),
        max_age_ms: raw.max_age_hours.map(|hours| i64::from(hours) * 3_600_000),
    })
}

fn exception(file: &str, raw: RawException) -> Result<Exception, PolicyError> {
    let owner = sentence(file, "the owner of an exception", raw.owner)?;
    let reason = sentence(file, "the reason of an exception", raw.reason)?;
    let images = globs(file, &format!("exception of {owner}"), &raw.images)?;
    at_most(file, "namespaces in one exception", raw.namespaces.len(), limits::ENTRIES)?;
    Ok(Exception { images, namespaces: raw.namespaces, owner, reason, expires: raw.expires })
}

/// Globs, at least one.
pub(crate) fn globs(file: &str, at: &str, texts: &[String]) -> Result<Vec<Glob>, PolicyError> {
    let wrong = |why: String| PolicyError::Wrong { file: file.to_owned(), what: at.to_owned(), why };
    if texts.is_empty() {
        return Err(wrong("it names no images".to_owned()));
    }
    at_most(file, "globs in one place", texts.len(), limits::ENTRIES)?;
    texts.iter().map(|text| Glob::parse(text).map_err(|error| wrong(error.to_string()))).collect()
}

/// A key from PEM.
pub(crate) fn key(pem: &str) -> Result<KeyName, String> {
    let wrong = || "not a public key (PEM, BEGIN PUBLIC KEY)".to_owned();
    if pem.len() > limits::KEY {
        return Err(wrong());
    }
    let pem = pem.trim();
    let body = pem.strip_prefix("-----BEGIN PUBLIC KEY-----").and_then(|r| r.strip_suffix("-----END PUBLIC KEY-----"));
    let body: String = body.ok_or_else(wrong)?.split_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| wrong())?;
    if der.is_empty() {
        return Err(wrong());
    }
    Ok(KeyName { pem: format!("{pem}\n"), hint: STANDARD.encode(Sha256::digest(&der)) })
}

/// A pattern over the whole text.
fn whole_pattern(text: &str) -> Result<Regex, String> {
    // By itself first: an unbalanced group must not reach around the anchors.
    pattern(text)?;
    pattern(&format!("^(?:{text})$"))
}

/// A pattern anywhere in the text, as sigstore's tools match.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > limits::PATTERN_TEXT {
        return Err(format!("a pattern has 1 to {} characters", limits::PATTERN_TEXT));
    }
    let built = RegexBuilder::new(text).size_limit(limits::PATTERN).build();
    built.map_err(|error| format!("{:?} is not a pattern: {error}", text.chars().take(120).collect::<String>()))
}

pub(crate) fn is_uri(text: &str) -> bool {
    text.len() <= limits::SENTENCE
        && text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

pub(crate) fn sentence(file: &str, what: &'static str, text: String) -> Result<String, PolicyError> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.len() > limits::SENTENCE || text.chars().any(char::is_control) {
        let why = format!("1 to {} characters on one line", limits::SENTENCE);
        return Err(PolicyError::Wrong { file: file.to_owned(), what: what.to_owned(), why });
    }
    Ok(text)
}

pub(crate) fn at_most(file: &str, what: &'static str, found: usize, most: usize) -> Result<(), PolicyError> {
    if found > most { Err(PolicyError::TooMany { file: file.to_owned(), what, most }) } else { Ok(()) }
}

impl Text {
    /// Whether this is it. Nothing is never it.
    pub fn matches(&self, text: &str) -> bool {
        !text.is_empty()
            && match self {
                Self::Exact(wanted) => wanted == text,
                Self::Pattern(pattern) => pattern.is_match(text),
            }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

impl Mode {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}
