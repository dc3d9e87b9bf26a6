//! What evidence an image must have: a policy in TOML.
//!
//! ```toml
//! name = "production"
//! trusted-root = "trusted_root.json"      # beside the policy; without it the public instance's authorities
//!
//! [signers.ci]                            # whoever holds a certificate for this identity
//! identity-pattern = 'https://github\.com/acme/app/\.github/workflows/.*'
//! issuer = "https://token.actions.githubusercontent.com"
//!
//! [signers.release-key]                   # whoever holds this key
//! key = "release.pub"
//! not-after = "2027-01-01T00:00:00Z"
//!
//! [[require]]
//! type = "slsa-provenance"                # or any predicate type, as an address
//! signers = ["ci"]                        # one of these must have signed it
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    COSIGN_SIGNATURE, COSIGN_VULN, CYCLONEDX, Expected, KeyPolicy, Match, Policy, PolicyError, PublicKey, Refused,
    SLSA_PROVENANCE, Signer, TrustRoot,
};

/// Longest policy: a hundred signers with their keys.
const MAX_POLICY: usize = 256 * 1024;
/// Signers of one policy: each bundle is held against each.
const MAX_SIGNERS: usize = 64;
/// Requirements of one policy.
const MAX_REQUIREMENTS: usize = 64;
/// Names for the predicate types that are written most.
const SHORT: [(&str, &str); 5] = [
    ("slsa-provenance", SLSA_PROVENANCE),
    ("signature", COSIGN_SIGNATURE),
    ("cyclonedx", CYCLONEDX),
    ("spdx", "https://spdx.dev/Document"),
    ("vuln", COSIGN_VULN),
];

/// What evidence an image must have.
#[derive(Debug, Clone)]
pub struct EvidencePolicy {
    /// Its name.
    pub name: String,
    /// The authorities that are believed.
    pub trust: TrustRoot,
    /// Who may sign, by name.
    pub signers: BTreeMap<String, Policy>,
    /// What must be there, all of it.
    pub requirements: Vec<Requirement>,
}

/// One thing that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name, for people.
    pub name: String,
    /// A statement of this predicate type; `None`: any signature or statement.
    pub predicate_type: Option<String>,
    /// Signed by one of these.
    pub signers: Vec<String>,
}

/// Not such a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidencePolicyError {
    /// Too long.
    #[error("it has more than {} kB", MAX_POLICY / 1024)]
    TooLong,
    /// Not TOML of this shape.
    #[error("{0}")]
    Malformed(String),
    /// It asks for nothing, or for too much.
    #[error("{0}")]
    Requirements(String),
    /// A signer that cannot be.
    #[error("signers.{name}: {why}")]
    Signer {
        /// Which.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The trust root cannot be used.
    #[error("trusted-root: {0}")]
    TrustRoot(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    trusted_root: Option<String>,
    #[serde(default)]
    old_forms: bool,
    signers: BTreeMap<String, RawSigner>,
    require: Vec<RawRequirement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawSigner {
    identity: Option<String>,
    identity_pattern: Option<String>,
    issuer: Option<String>,
    issuer_pattern: Option<String>,
    #[serde(default = "yes")]
    transparency: bool,
    key: Option<String>,
    key_pem: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    #[serde(default)]
    unlogged: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawRequirement {
    #[serde(default)]
    name: Option<String>,
    #[serde(rename = "type", default)]
    predicate_type: Option<String>,
    signers: Vec<String>,
}

fn yes() -> bool {
    true
}

impl EvidencePolicy {
    /// Reads a policy. `file` reads the files that it names (keys, trust root), by their path as it is written there.
    pub fn parse(
        text: &str,
        file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, EvidencePolicyError> {
        if text.len() > MAX_POLICY {
            return Err(EvidencePolicyError::TooLong);
        }
        let raw: Raw = toml::from_str(text).map_err(|error| {
            EvidencePolicyError::Malformed(error.to_string().trim_end().chars().take(500).collect())
        })?;
        let trust = match &raw.trusted_root {
            None => TrustRoot::public(),
            Some(path) => TrustRoot::from_json(&file(path).map_err(EvidencePolicyError::TrustRoot)?),
        };
        let trust = trust.map_err(|error| EvidencePolicyError::TrustRoot(error.to_string()))?;
        if raw.signers.len() > MAX_SIGNERS || raw.require.len() > MAX_REQUIREMENTS {
            let why = format!("at most {MAX_SIGNERS} signers and {MAX_REQUIREMENTS} requirements");
            return Err(EvidencePolicyError::Requirements(why));
        }
        let old_forms = raw.old_forms;
        let mut signers = BTreeMap::new();
        for (name, signer) in raw.signers {
            let unlogged = signer.unlogged;
            let made =
                self::signer(signer, file).map_err(|why| EvidencePolicyError::Signer { name: name.clone(), why })?;
            let policy = Policy { signer: made, expected: Expected::Anything, old_forms, unlogged };
            signers.insert(name, policy);
        }
        let requirements: Vec<_> =
            raw.require.into_iter().map(|r| requirement(r, &signers)).collect::<Result<_, _>>()?;
        if requirements.is_empty() {
            return Err(EvidencePolicyError::Requirements("it asks for nothing: add [[require]]".to_owned()));
        }
        Ok(Self { name: raw.name.unwrap_or_else(|| "policy".to_owned()), trust, signers, requirements })
    }
}

fn signer(raw: RawSigner, file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>) -> Result<Signer, String> {
    let keyless = [&raw.identity, &raw.identity_pattern, &raw.issuer, &raw.issuer_pattern].iter().any(|o| o.is_some());
    let pem = match (&raw.key, &raw.key_pem) {
        (Some(_), Some(_)) => return Err("either key or key-pem, not both".to_owned()),
        (Some(path), None) => Some(String::from_utf8_lossy(&file(path)?).into_owned()),
        (None, pem) => pem.clone(),
    };
    let time = |text: &Option<String>, name: &str| {
        let read = text.as_ref().map(|text| text.parse::<Timestamp>());
        read.transpose().map_err(|_| format!("{name} is no time like 2027-01-01T00:00:00Z"))
    };
    let (not_before, not_after) = (time(&raw.not_before, "not-before")?, time(&raw.not_after, "not-after")?);
    match pem {
        Some(_) if keyless => Err("either a key or an identity with its issuer, not both".to_owned()),
        Some(_) if !raw.transparency => Err("transparency is about certificates, not about keys".to_owned()),
        Some(pem) => {
            let key = PublicKey::from_pem(&pem).map_err(|error: Refused| error.to_string())?;
            Ok(Signer::Key(Box::new(KeyPolicy { key, not_before, not_after })))
        }
        None if !keyless => Err("key, key-pem, or identity with issuer".to_owned()),
        None if not_before.is_some() || not_after.is_some() => {
            Err("not-before and not-after are for keys: certificates have their own".to_owned())
        }
        None if raw.unlogged => {
            Err("unlogged is for keys: a certificate's signature needs a log or a timestamp".to_owned())
        }
        None => {
            let identity = one("identity", raw.identity, raw.identity_pattern)?;
            let issuer = one("issuer", raw.issuer, raw.issuer_pattern)?;
            Ok(Signer::Keyless { identity, issuer, transparency: raw.transparency })
        }
    }
}

fn one(name: &str, exact: Option<String>, pattern: Option<String>) -> Result<Match, String> {
    match (exact, pattern) {
        (Some(text), None) => Match::exact(text).map_err(|error: PolicyError| error.to_string()),
        (None, Some(text)) => Match::pattern(&text).map_err(|error| error.to_string()),
        _ => Err(format!("exactly one of {name} and {name}-pattern")),
    }
}

fn requirement(raw: RawRequirement, signers: &BTreeMap<String, Policy>) -> Result<Requirement, EvidencePolicyError> {
    let wrong = |why: String| EvidencePolicyError::Requirements(why);
    let predicate_type = match raw.predicate_type {
        None => None,
        Some(text) => match SHORT.iter().find(|(short, _)| *short == text) {
            Some((_, whole)) => Some((*whole).to_owned()),
            None if text.contains(':') => Some(text),
            None => {
                let short: Vec<&str> = SHORT.iter().map(|(short, _)| *short).collect();
                return Err(wrong(format!("type {text:?}: an address, or one of {}", short.join(", "))));
            }
        },
    };
    let name = raw.name.or_else(|| predicate_type.clone()).unwrap_or_else(|| "signed".to_owned());
    if raw.signers.is_empty() {
        return Err(wrong(format!("{name}: signers names nobody, and nobody's word proves nothing")));
    }
    if let Some(unknown) = raw.signers.iter().find(|name| !signers.contains_key(*name)) {
        return Err(wrong(format!("{name}: there is no [signers.{unknown}]")));
    }
    Ok(Requirement { name, predicate_type, signers: raw.signers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn parse(text: &str, key: &str) -> Result<EvidencePolicy, EvidencePolicyError> {
        EvidencePolicy::parse(text, &mut |path| match path {
            "release.pub" => Ok(key.as_bytes().to_vec()),
            other => Err(format!("{other} cannot be read")),
        })
    }

    const WHOLE: &str = r#"
name = "production"
[signers.ci]
identity-pattern = 'https://github\.com/acme/.*'
issuer = "https://token.actions.githubusercontent.com"
[signers.release-key]
key = "release.pub"
not-after = "2027-01-01T00:00:00Z"
unlogged = true
[[require]]
type = "slsa-provenance"
signers = ["ci", "release-key"]
[[require]]
name = "signed by release"
signers = ["release-key"]
"#;

    #[test]
    fn the_example_is_read() {
        let example = parse(include_str!("../../../examples/evidence-policy.toml"), "").unwrap();
        assert_eq!((example.signers.len(), example.requirements.len()), (2, 3));
    }

    #[test]
    fn a_whole_policy_is_read_and_mistakes_are_named() {
        let (key, _) = SigningKey::generate().unwrap();
        let key = key.public().to_pem();
        let whole = parse(WHOLE, &key).unwrap();
        assert_eq!((whole.name.as_str(), whole.signers.len(), whole.requirements.len()), ("production", 2, 2));
        assert_eq!(whole.requirements[0].predicate_type.as_deref(), Some(SLSA_PROVENANCE));
        assert!(whole.signers["release-key"].unlogged && !whole.signers["ci"].unlogged);
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let said = parse(&WHOLE.replace(from, to), &key).unwrap_err().to_string();
            assert!(said.contains(expected), "{from:?} -> {to:?}: {said}");
        };
        check("\"slsa-provenance\"", "\"provenance\"", "an address, or one of slsa-provenance");
        check("[\"ci\", \"release-key\"]", "[]", "signers names nobody");
        check("[\"ci\", \"release-key\"]", "[\"cd\"]", "no [signers.cd]");
        check("key = \"release.pub\"", "key = \"other.pub\"", "other.pub cannot be read");
        check("key = \"release.pub\"", "key-pem = \"nonsense\"", "not a public key");
        check("key = \"release.pub\"", "", "key, key-pem, or identity with issuer");
        check("issuer = ", "issuers = ", "unknown field `issuers`");
        check("issuer = \"https://token.actions.githubusercontent.com\"", "", "exactly one of issuer");
        check("identity-pattern = 'https", "identity-pattern = '(", "is not a pattern");
        check("2027-01-01T00:00:00Z", "tomorrow", "not-after is no time");
        check("name = \"production\"", "trusted-root = \"root.json\"", "trusted-root: root.json cannot be read");
        check("issuer = \"https", "unlogged = true\nissuer = \"https", "unlogged is for keys");
        let (before, _) = WHOLE.split_once("[[require]]").unwrap();
        assert!(parse(before, &key).is_err());
        assert!(parse(&format!("require = []\n{before}"), &key).unwrap_err().to_string().contains("asks for nothing"));
        assert_eq!(parse(&" ".repeat(MAX_POLICY + 1), &key).unwrap_err(), EvidencePolicyError::TooLong);
    }
}
