//! What has to be applied to a cluster so that it asks, and a certificate of one's own.

use std::fmt::Write as _;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::exit::WrongUse;

/// How long a certificate is good, days: it is made again by the same command.
const DAYS: i64 = 365;
/// Seconds that the API server waits; we answer after eight of them at the latest.
const TIMEOUT_SECONDS: u32 = 10;

/// A certificate and what belongs to it, as PEM.
pub struct Made {
    /// The authority's certificate, which the cluster is told. Its key is not kept: nothing else can be signed with it.
    pub authority: String,
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A certificate for these names, by an authority of its own, good for a year from `today`.
pub fn certificate(names: &[String], today: jiff::civil::Date) -> anyhow::Result<Made> {
    let wrong = |error: rcgen::Error| WrongUse(format!("no certificate for {}: {error}", names.join(", ")));
    let failed = "the certificate could not be made";
    let day = |offset: i64| -> anyhow::Result<_> {
        let date = today.checked_add(jiff::Span::new().days(offset)).context(failed)?;
        Ok(date_time_ymd(i32::from(date.year()), u8::try_from(date.month())?, u8::try_from(date.day())?))
    };
    // A day back: clocks differ.
    let (from, until) = (day(-1)?, day(DAYS)?);
    let mut authority = CertificateParams::new(Vec::new()).map_err(wrong)?;
    authority.distinguished_name.push(DnType::CommonName, "DeliveryOS admission authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (authority.not_before, authority.not_after) = (from, until);
    let authority_key = KeyPair::generate().context(failed)?;
    let authority_certificate = authority.self_signed(&authority_key).context(failed)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(names.to_vec()).map_err(wrong)?;
    server.distinguished_name.push(DnType::CommonName, "DeliveryOS admission");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (server.not_before, server.not_after) = (from, until);
    let key = KeyPair::generate().context(failed)?;
    let certificate = server.signed_by(&key, &issuer).context(failed)?;
    Ok(Made { authority: authority_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

/// How a cluster reaches the webhook.
pub enum Reached {
    /// By an address: `https://host:port`.
    Url(String),
    /// By a service in it.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

/// The `ValidatingWebhookConfiguration`, and with `pin` the `MutatingWebhookConfiguration` before it, as YAML.
///
/// They fail closed, list `pods/ephemeralcontainers` by name (`pods` does not cover it), and leave out the namespaces that are named, by
/// the label that nobody but the API server sets.
pub fn configurations(reached: &Reached, authority_pem: &str, exempt: &[String], pin: bool) -> String {
    let mut yaml = String::new();
    if pin {
        one(&mut yaml, "MutatingWebhookConfiguration", "pin", reached, authority_pem, exempt);
        yaml.push_str("  reinvocationPolicy: IfNeeded\n---\n");
    }
    one(&mut yaml, "ValidatingWebhookConfiguration", "validate", reached, authority_pem, exempt);
    yaml
}

fn one(yaml: &mut String, kind: &str, path: &str, reached: &Reached, authority_pem: &str, exempt: &[String]) {
    let bundle = STANDARD.encode(authority_pem);
    let client = match reached {
        Reached::Url(url) => format!("    url: {}\n", quoted(&format!("{}/{path}", url.trim_end_matches('/')))),
        Reached::Service { namespace, name, port } => format!(
            "    service:\n      namespace: {}\n      name: {}\n      port: {port}\n      path: /{path}\n",
            quoted(namespace),
            quoted(name)
        ),
    };
    let _ = write!(
        yaml,
        "apiVersion: admissionregistration.k8s.io/v1
kind: {kind}
metadata:
  name: deliveryos-{path}
webhooks:
- name: {path}.admission.deliveryos.dev
  admissionReviewVersions: [v1]
  failurePolicy: Fail
  sideEffects: NoneOnDryRun
  matchPolicy: Equivalent
  timeoutSeconds: {TIMEOUT_SECONDS}
  clientConfig:
    caBundle: {bundle}
{client}  rules:
  - apiGroups: [\"\"]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [pods, pods/ephemeralcontainers, podtemplates, replicationcontrollers]
    scope: Namespaced
  - apiGroups: [apps]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [deployments, replicasets, statefulsets, daemonsets]
    scope: Namespaced
  - apiGroups: [batch]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [jobs, cronjobs]
    scope: Namespaced
"
    );
    if !exempt.is_empty() {
        let names = exempt.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let _ = write!(
            yaml,
            "  namespaceSelector:\n    matchExpressions:\n    - key: kubernetes.io/metadata.name\n      operator: NotIn\n      values: [{names}]\n"
        );
    }
}

/// A text in YAML, which is one in JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
