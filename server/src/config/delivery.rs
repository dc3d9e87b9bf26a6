//! What the configuration says of images: environments in their order, whose attestations count, and what a release needs.
//!
//! ```toml
//! [attestations]
//! keys = ["keys/ci.pub"]            # public keys (PEM); or identities with their provider
//! unlogged = true                   # take what no transparency log has seen
//!
//! [environments.dev]
//! from = "registry.example.com/build/{service}"      # where built images come from: the first one only
//! images = "registry.example.com/dev/{service}"      # or a folder: oci:images/dev/{service}
//! attestations = ["slsa", "signature"]               # what must be verified before anything comes in
//!
//! [environments.prod]
//! images = "registry.example.com/prod/{service}"
//! after = "dev"
//! two_person = true
//! freezes = [{ from = "2026-12-20T00:00:00Z", until = "2027-01-02T00:00:00Z", reason = "nobody is here" }]
//!
//! [services.checkout.policy]        # a release starts only when all of it holds for its version's digest
//! gates = "gates.toml"              # passed by this policy; "strict" is the built-in one
//! attestations = ["slsa", "sbom"]
//! promoted_to = "prod"
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use model::{Environment, Kind, ServiceId, Timestamp};
use registry::Reference;
use serde::Deserialize;

use super::Config;

/// Most environments: an order that a person can still read.
const MAX_ENVIRONMENTS: usize = 20;
/// Most signers.
const MAX_SIGNERS: usize = 50;
/// Most freezes of one environment: one a week, for a year.
const MAX_FREEZES: usize = 52;
/// Stands for the service's name in the name of a place.
const SERVICE: &str = "{service}";

/// An environment that images are promoted into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// Where its images are: `oci:FOLDER` or `HOST/REPOSITORY`, with `{service}` in it.
    pub images: String,
    /// Where built images come from, for the first environment.
    #[serde(default)]
    pub from: Option<String>,
    /// The environment that an image must have been in before.
    #[serde(default)]
    pub after: Option<Environment>,
    /// One person asks, another one agrees.
    #[serde(default)]
    pub two_person: bool,
    /// What must be verified before an image comes in.
    #[serde(default)]
    pub attestations: Vec<Statement>,
    /// When nothing comes in.
    #[serde(default)]
    pub freezes: Vec<FreezeConfig>,
    /// HTTP without TLS also to hosts that are not this machine.
    #[serde(default)]
    pub plain_http: bool,
}

/// A time in which nothing comes in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeConfig {
    /// From then.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// A kind of attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statement {
    /// SLSA provenance.
    Slsa,
    /// A signature.
    Signature,
    /// A bill of materials.
    Sbom,
    /// A vulnerability scan.
    Vuln,
}

impl Statement {
    /// The kind of receipt that tells of one.
    pub fn kind(self) -> Kind {
        match self {
            Self::Slsa => Kind::AttestationSlsa,
            Self::Signature => Kind::AttestationSignature,
            Self::Sbom => Kind::AttestationSbom,
            Self::Vuln => Kind::AttestationVuln,
        }
    }

    /// In words, after "a".
    pub fn words(self) -> &'static str {
        match self {
            Self::Slsa => "provenance",
            Self::Signature => "signature",
            Self::Sbom => "bill of materials",
            Self::Vuln => "vulnerability scan",
        }
    }
}

/// Whose attestations count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttestationsConfig {
    /// Files with public keys (PEM).
    pub keys: Vec<PathBuf>,
    /// Identities that a certificate names.
    pub identities: Vec<IdentityConfig>,
    /// The authorities and logs that are believed; the public instance's when left out.
    pub trusted_root: Option<PathBuf>,
    /// Take what no transparency log has seen.
    pub unlogged: bool,
}

/// An identity, exactly as the certificate has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The person or workflow.
    pub identity: String,
    /// The provider that vouches for them.
    pub issuer: String,
}

/// What a release of a service needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Gates passed by this policy: a file, or `strict`.
    pub gates: Option<String>,
    /// Attestations that were verified.
    pub attestations: Vec<Statement>,
    /// Promoted into this environment.
    pub promoted_to: Option<Environment>,
}

impl EnvironmentConfig {
    /// Where a service's images are.
    pub fn place(&self, service: &ServiceId) -> Result<Reference, String> {
        place(&self.images, service)
    }

    /// Where a service's built images come from.
    pub fn source(&self, service: &ServiceId) -> Option<Result<Reference, String>> {
        self.from.as_deref().map(|text| place(text, service))
    }
}

fn place(text: &str, service: &ServiceId) -> Result<Reference, String> {
    let reference: Reference =
        text.replace(SERVICE, service.as_str()).parse().map_err(|error: registry::Error| error.to_string())?;
    if reference.at().is_some() {
        return Err(format!("{text:?} names an image; name a place, without tag or digest"));
    }
    Ok(reference)
}

/// Checks what a parser cannot.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let environments = &config.environments;
    if environments.len() > MAX_ENVIRONMENTS {
        return Err(format!("at most {MAX_ENVIRONMENTS} environments"));
    }
    if config.attestations.keys.len() + config.attestations.identities.len() > MAX_SIGNERS {
        return Err(format!("attestations: at most {MAX_SIGNERS} keys and identities"));
    }
    let signers = !config.attestations.keys.is_empty() || !config.attestations.identities.is_empty();
    let mut places: BTreeMap<&str, &Environment> = BTreeMap::new();
    for (name, environment) in environments {
        let at = format!("environments.{name}");
        for (field, text) in [("images", Some(&environment.images)), ("from", environment.from.as_ref())] {
            let Some(text) = text else { continue };
            if !text.contains(SERVICE) {
                return Err(format!("{at}.{field}: {text:?} has no {SERVICE}: services would share their tags"));
            }
            let example = "service".parse().map_err(|_| "a service".to_owned())?;
            place(text, &example).map_err(|why| format!("{at}.{field}: {why}"))?;
        }
        if let Some(other) = places.insert(&environment.images, name) {
            return Err(format!("{at}.images: the same as of {other}"));
        }
        match (&environment.after, &environment.from) {
            (None, None) => return Err(format!("{at}: either after, or from where built images come")),
            (Some(_), Some(_)) => return Err(format!("{at}: either after or from, not both")),
            (Some(before), None) if !environments.contains_key(before) => {
                return Err(format!("{at}.after: there is no [environments.{before}]"));
            }
            _ => {}
        }
        let mut seen = BTreeSet::from([name]);
        let mut next = environment.after.as_ref();
        while let Some(before) = next {
            if !seen.insert(before) {
                return Err(format!("{at}.after: {before} comes after itself"));
            }
            next = environments.get(before).and_then(|e| e.after.as_ref());
        }
        if environment.freezes.len() > MAX_FREEZES {
            return Err(format!("{at}.freezes: at most {MAX_FREEZES}"));
        }
        for (i, freeze) in environment.freezes.iter().enumerate() {
            if freeze.until <= freeze.from {
                return Err(format!("{at}.freezes[{i}]: it ends before it begins"));
            }
            if freeze.reason.trim().is_empty() || freeze.reason.chars().count() > 200 {
                return Err(format!("{at}.freezes[{i}].reason: 1 to 200 characters, for whoever is refused"));
            }
        }
        if !environment.attestations.is_empty() && !signers {
            return Err(format!("{at}.attestations: nobody's count: name keys or identities under [attestations]"));
        }
    }
    for (name, service) in &config.services {
        let Some(policy) = &service.policy else { continue };
        let at = format!("services.{name}.policy");
        if let Some(environment) = &policy.promoted_to
            && !environments.contains_key(environment)
        {
            return Err(format!("{at}.promoted_to: there is no [environments.{environment}]"));
        }
        if !policy.attestations.is_empty() && !signers {
            return Err(format!("{at}.attestations: nobody's count: name keys or identities under [attestations]"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [attestations]
        keys = ["ci.pub"]
        [environments.dev]
        from = "oci:build/{service}"
        images = "oci:dev/{service}"
        attestations = ["slsa"]
        [environments.prod]
        images = "registry.example.com/prod/{service}"
        after = "dev"
        two_person = true
        freezes = [{ from = "2026-12-20T00:00:00Z", until = "2027-01-02T00:00:00Z", reason = "nobody is here" }]
        [services.checkout]
        listen = ["127.0.0.1:8080"]
        stable = "v1"
        policy = { gates = "strict", attestations = ["slsa"], promoted_to = "prod" }
        [services.checkout.versions.v1]
        command = ["./checkout"]
    "#;

    #[test]
    fn places_are_a_service_s_own() {
        let config = Config::parse(WHOLE).unwrap();
        let service: ServiceId = "checkout".parse().unwrap();
        let prod = &config.environments[&"prod".parse::<Environment>().unwrap()];
        assert_eq!(prod.place(&service).unwrap().to_string(), "registry.example.com/prod/checkout");
        assert!(prod.source(&service).is_none());
    }

    #[test]
    fn mistakes_are_named() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let said = crate::exit::chain(&Config::parse(&WHOLE.replace(from, to)).unwrap_err());
            assert!(said.contains(expected), "{from:?} -> {to:?}: {said}");
        };
        check("oci:dev/{service}", "oci:dev", "services would share their tags");
        check("oci:dev/{service}", "oci:dev/{service}:v1", "without tag or digest");
        check("oci:dev/{service}", "dev/{service}", "environments.dev.images");
        check("after = \"dev\"", "after = \"staging\"", "there is no [environments.staging]");
        check("after = \"dev\"", "after = \"prod\"", "prod comes after itself");
        check("after = \"dev\"", "", "either after, or from");
        check("after = \"dev\"", "after = \"dev\"\nfrom = \"oci:x/{service}\"", "not both");
        check("2027-01-02", "2026-01-02", "it ends before it begins");
        check("nobody is here", " ", "freezes[0].reason");
        check("keys = [\"ci.pub\"]", "", "nobody's count");
        check("[\"slsa\"]\n        [env", "[\"slas\"]\n        [env", "unknown variant `slas`");
        check("promoted_to = \"prod\"", "promoted_to = \"qa\"", "there is no [environments.qa]");
        check("registry.example.com/prod/{service}", "oci:dev/{service}", "the same as of dev");
    }
}
