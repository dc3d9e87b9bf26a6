//! sigstore's `ClusterImagePolicy` (policy.sigstore.dev, v1alpha1 and v1beta1), as its policy-controller reads it.
//!
//! One authority of a policy must be content; of an authority's attestations, each must be there. What is not supported is refused by its
//! name: to pass over it would admit more than the document says.

use serde_json::{Map, Value};

use crate::{
    Authority, By, Identity, Mode, Policy, PolicyError, Quorum, Text, Want, limits,
    policy::{at_most, globs, is_uri, key, pattern, sentence},
};

/// The public instance, which documents name though everybody means it.
const PUBLIC_FULCIO: &str = "https://fulcio.sigstore.dev";
const PUBLIC_REKOR: &str = "https://rekor.sigstore.dev";

/// cosign's short names of predicate types.
const SHORT: [(&str, &str); 10] = [
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("link", "https://in-toto.io/Link/v1"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
];

/// A part of a document that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ClusterImagePolicy {policy:?}: {field} is not supported here{hint}")]
pub struct UnsupportedPolicy {
    /// The document's name.
    pub policy: String,
    /// The field.
    pub field: String,
    /// What to do instead, where there is something.
    pub hint: &'static str,
}

/// Reads every document of a file.
pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Vec<Policy>, PolicyError> {
    let unreadable = |why: String| PolicyError::Unreadable { file: file.to_owned(), why };
    let documents = rollout::manifests(bytes).map_err(unreadable)?;
    let mut policies = Vec::new();
    for document in documents.iter().filter(|document| !document.is_null()) {
        policies.push(policy(file, document)?);
    }
    if policies.is_empty() {
        return Err(PolicyError::Unreadable { file: file.to_owned(), why: "it holds no document".to_owned() });
    }
    Ok(policies)
}

struct Reader<'a> {
    file: &'a str,
    policy: String,
}

fn policy(file: &str, document: &Value) -> Result<Policy, PolicyError> {
    let said = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
    let known = matches!(said("apiVersion"), "policy.sigstore.dev/v1beta1" | "policy.sigstore.dev/v1alpha1");
    if !known || said("kind") != "ClusterImagePolicy" {
        let why = format!(
            "{:?} {:?} is no ClusterImagePolicy of policy.sigstore.dev, v1beta1 or v1alpha1",
            said("apiVersion").chars().take(80).collect::<String>(),
            said("kind").chars().take(80).collect::<String>()
        );
        return Err(PolicyError::Unreadable { file: file.to_owned(), why });
    }
    let name = document.get("metadata").and_then(|m| m.get("name")).and_then(Value::as_str).unwrap_or_default();
    let name = sentence(file, "the name of a ClusterImagePolicy", name.to_owned())?;
    let reader = Reader { file, policy: name };
    let top = reader.fields(document, "the document", &["apiVersion", "kind", "metadata", "spec", "status"])?;
    let spec = reader.object(top.get("spec").unwrap_or(&Value::Null), "spec")?;
    reader.only(spec, "spec", &["images", "authorities", "mode"])?;
    let mode = match spec.get("mode").and_then(Value::as_str) {
        None if spec.get("mode").is_none_or(Value::is_null) => None,
        Some("enforce" | "") => Some(Mode::Enforce),
        Some("warn") => Some(Mode::Warn),
        _ => return Err(reader.wrong("spec.mode", "enforce or warn")),
    };
    let mut texts = Vec::new();
    for image in reader.list(spec, "spec", "images")? {
        let image = reader.fields(image, "spec.images[]", &["glob"])?;
        texts.push(reader.text(image, "spec.images[]", "glob")?);
    }
    let images = globs(file, &format!("ClusterImagePolicy {:?}", reader.policy), &texts)?;
    let mut authorities = Vec::new();
    for (index, value) in reader.list(spec, "spec", "authorities")?.iter().enumerate() {
        authorities.push(reader.authority(index, value)?);
    }
    if authorities.is_empty() {
        return Err(reader.wrong("spec.authorities", "at least one"));
    }
    Ok(Policy {
        name: reader.policy,
        images,
        namespaces: Vec::new(),
        // A document without a mode enforces, whatever else is said elsewhere.
        mode: Some(mode.unwrap_or(Mode::Enforce)),
        quorum: Quorum::Any,
        authorities,
    })
}

impl Reader<'_> {
    fn authority(&self, index: usize, value: &Value) -> Result<Authority, PolicyError> {
        let at = format!("spec.authorities[{index}]");
        let known = ["name", "key", "keyless", "static", "ctlog", "attestations", "signatureFormat"];
        let fields = self.fields(value, &at, &known)?;
        let name = self.optional(fields, &at, "name")?.unwrap_or_else(|| format!("authority-{index}"));
        match self.optional(fields, &at, "signatureFormat")?.as_deref() {
            None | Some("bundle" | "") => {}
            Some(_) => {
                return Err(self.unsupported(
                    &format!("{at}.signatureFormat"),
                    ": evidence is read as Sigstore bundles only (bundle)",
                ));
            }
        }
        let log = self.log(fields, &at)?;
        let present = |key: &str| fields.get(key).filter(|value| !value.is_null());
        let (by, logged) = match (present("key"), present("keyless"), present("static")) {
            (Some(key), None, None) => (By::Key(self.key(key, &format!("{at}.key"))?), log.unwrap_or(false)),
            (None, Some(keyless), None) => {
                let at = format!("{at}.keyless");
                if log == Some(false) {
                    let hint = ": without a log nobody knows when a keyless signature was made";
                    return Err(self.unsupported(&format!("{at} with an empty ctlog"), hint));
                }
                (By::Keyless(self.identities(keyless, &at)?), true)
            }
            (None, None, Some(fixed)) => (self.fixed(fixed, &format!("{at}.static"))?, false),
            _ => return Err(self.wrong(&at, "exactly one of key, keyless and static")),
        };
        let mut wants = Vec::new();
        if present("attestations").is_some() {
            for (number, value) in self.list(fields, &at, "attestations")?.iter().enumerate() {
                wants.push(self.attestation(value, &format!("{at}.attestations[{number}]"))?);
            }
        }
        if wants.is_empty() {
            wants.push(Want::Signature);
        }
        Ok(Authority { name, by, wants, logged, max_age_ms: None })
    }

    /// Whether a log is asked for: `None` when nothing is said.
    fn log(&self, fields: &Map<String, Value>, at: &str) -> Result<Option<bool>, PolicyError> {
        let Some(value) = fields.get("ctlog").filter(|value| !value.is_null()) else { return Ok(None) };
        let at = format!("{at}.ctlog");
        let log = self.fields(value, &at, &["url"])?;
        match self.optional(log, &at, "url")? {
            None => Ok(Some(false)),
            Some(url) if url.trim_end_matches('/') == PUBLIC_REKOR => Ok(Some(true)),
            Some(_) => Err(self.unsupported(&format!("{at}.url of another log"), OTHER_ROOT)),
        }
    }

    fn key(&self, value: &Value, at: &str) -> Result<crate::KeyName, PolicyError> {
        let fields = self.fields(value, at, &["data", "hashAlgorithm"])?;
        match self.optional(fields, at, "hashAlgorithm")?.as_deref() {
            None | Some("sha256" | "") => {}
            Some(_) => return Err(self.unsupported(&format!("{at}.hashAlgorithm other than sha256"), "")),
        }
        let pem = self.text(fields, at, "data")?;
        key(&pem).map_err(|why| self.wrong(&format!("{at}.data"), &why))
    }

    fn identities(&self, value: &Value, at: &str) -> Result<Vec<Identity>, PolicyError> {
        let fields = self.fields(value, at, &["url", "identities"])?;
        if let Some(url) = self.optional(fields, at, "url")?
            && url.trim_end_matches('/') != PUBLIC_FULCIO
        {
            return Err(self.unsupported(&format!("{at}.url of another authority"), OTHER_ROOT));
        }
        let list = self.list(fields, at, "identities")?;
        if list.is_empty() {
            return Err(self.wrong(&format!("{at}.identities"), "at least one: without it, anybody could sign"));
        }
        let mut identities = Vec::new();
        for (number, value) in list.iter().enumerate() {
            let at = format!("{at}.identities[{number}]");
            let fields = self.fields(value, &at, &["issuer", "subject", "issuerRegExp", "subjectRegExp"])?;
            let text = |exact: &str, expression: &str| match (
                self.optional(fields, &at, exact)?,
                self.optional(fields, &at, expression)?,
            ) {
                (Some(text), None) => Ok(Text::Exact(text)),
                (None, Some(text)) => {
                    pattern(&text).map(Text::Pattern).map_err(|why| self.wrong(&format!("{at}.{expression}"), &why))
                }
                _ => Err(self.wrong(&at, &format!("exactly one of {exact} and {expression}"))),
            };
            identities
                .push(Identity { subject: text("subject", "subjectRegExp")?, issuer: text("issuer", "issuerRegExp")? });
        }
        Ok(identities)
    }

    fn fixed(&self, value: &Value, at: &str) -> Result<By, PolicyError> {
        let fields = self.fields(value, at, &["action", "message"])?;
        let message = self.optional(fields, at, "message")?;
        match self.text(fields, at, "action")?.as_str() {
            "pass" => Ok(By::Pass),
            "fail" => {
                let message = message.unwrap_or_else(|| "the policy refuses these images".to_owned());
                Ok(By::Fail(sentence(self.file, "the message of a static authority", message)?))
            }
            _ => Err(self.wrong(&format!("{at}.action"), "pass or fail")),
        }
    }

    fn attestation(&self, value: &Value, at: &str) -> Result<Want, PolicyError> {
        let fields = self.fields(value, at, &["name", "predicateType"])?;
        let said = self.text(fields, at, "predicateType")?;
        match SHORT.iter().find(|(short, _)| *short == said) {
            Some((_, long)) => Ok(Want::Statement((*long).to_owned())),
            None if is_uri(&said) => Ok(Want::Statement(said)),
            None => Err(self.wrong(&format!("{at}.predicateType"), "a name that cosign knows, or an address")),
        }
    }

    /// An object with no other fields than these.
    fn fields<'v>(&self, value: &'v Value, at: &str, known: &[&str]) -> Result<&'v Map<String, Value>, PolicyError> {
        let fields = self.object(value, at)?;
        self.only(fields, at, known)?;
        Ok(fields)
    }

    fn object<'v>(&self, value: &'v Value, at: &str) -> Result<&'v Map<String, Value>, PolicyError> {
        value.as_object().ok_or_else(|| self.wrong(at, "an object"))
    }

    fn only(&self, fields: &Map<String, Value>, at: &str, known: &[&str]) -> Result<(), PolicyError> {
        match fields.iter().find(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                let hint = match key.as_str() {
                    "policy" => {
                        ": CUE and Rego are not evaluated; require predicate types, and gate their contents before"
                    }
                    "trustRootRef" | "ca-cert" | "rfc3161timestamp" => OTHER_ROOT,
                    "secretRef" | "kms" => ": give the public key itself, in data",
                    "match" => ": these documents hold for all kinds of objects here",
                    "source" => ": evidence is read beside its image",
                    "insecureIgnoreSCT" => ": certificates must stand in a transparency log",
                    _ => "",
                };
                Err(self.unsupported(&format!("{at}.{}", key.chars().take(80).collect::<String>()), hint))
            }
        }
    }

    fn list<'v>(&self, fields: &'v Map<String, Value>, at: &str, key: &str) -> Result<&'v [Value], PolicyError> {
        match fields.get(key) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => {
                at_most(self.file, "entries in one list of a ClusterImagePolicy", list.len(), limits::ENTRIES)?;
                Ok(list)
            }
            Some(_) => Err(self.wrong(&format!("{at}.{key}"), "a list")),
        }
    }

    fn text(&self, fields: &Map<String, Value>, at: &str, key: &str) -> Result<String, PolicyError> {
        self.optional(fields, at, key)?.ok_or_else(|| self.wrong(&format!("{at}.{key}"), "a text"))
    }

    /// A text; empty is as good as absent, as Go has it.
    fn optional(&self, fields: &Map<String, Value>, at: &str, key: &str) -> Result<Option<String>, PolicyError> {
        match fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(&format!("{at}.{key}"), "a text")),
        }
    }

    fn unsupported(&self, field: &str, hint: &'static str) -> PolicyError {
        let why = UnsupportedPolicy { policy: self.policy.clone(), field: field.to_owned(), hint };
        PolicyError::Unsupported { file: self.file.to_owned(), why }
    }

    fn wrong(&self, field: &str, why: &str) -> PolicyError {
        let what = format!("ClusterImagePolicy {:?}, {field}", self.policy);
        PolicyError::Wrong { file: self.file.to_owned(), what, why: why.to_owned() }
    }
}

/// The trust root is the server's, one for all policies.
const OTHER_ROOT: &str = ": the authorities believed are those of the trusted root that this server was given";
