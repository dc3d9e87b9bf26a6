//! `deliveryos admit …`: what a cluster needs so that it asks, and what it would be told.

use std::{
    fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, process::ExitCode, sync::Arc,
};

use admission::{Decision, Mode, Review};
use anyhow::Context as _;
use receipt_log::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{print, verify_bundle::read};
use crate::{
    admission::{
        Loaded, Policies, Registries,
        manifests::{Reached, certificate, configurations},
        preview::preview,
    },
    args::{AdmitVerb, CheckManifests, Global, Webhook},
    config::Config,
    exit::{REFUSED, WrongUse},
};

/// Largest file of manifests: what the reader of YAML takes.
const MAX_FILE: usize = 1024 * 1024;
/// Kinds of objects that run pods, and so are judged.
const KINDS: [&str; 9] = [
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
];

pub(super) async fn run(global: &Global, verb: AdmitVerb) -> anyhow::Result<ExitCode> {
    match verb {
        AdmitVerb::Certificate { out, names } => make(global, &out, &names),
        AdmitVerb::Webhook(webhook) => configure(&webhook),
        AdmitVerb::Check(check) => judge(global, check).await,
    }
}

fn make(global: &Global, out: &Path, names: &[String]) -> anyhow::Result<ExitCode> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let made = certificate(names, today)?;
    std::fs::create_dir_all(out).map_err(|error| WrongUse(format!("{} cannot be made: {error}", out.display())))?;
    for (name, mode, text) in
        [("ca.pem", 0o644, &made.authority), ("tls.pem", 0o644, &made.certificate), ("tls.key", 0o600, &made.key)]
    {
        let path = out.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(|error| WrongUse(format!("{} cannot be made: {error}", path.display())))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let path = |name: &str| out.join(name);
    if global.json {
        print::json(
            &json!({ "ca": path("ca.pem"), "certificate": path("tls.pem"), "key": path("tls.key"), "names": names }),
        )?;
    } else {
        let line = "a year of TLS for";
        print::line(&format!(
            "{line} {}: {}, {} (keep it secret)",
            names.join(", "),
            path("tls.pem").display(),
            path("tls.key").display()
        ))?;
        print::line(&format!("tell the cluster: deliveryos admit webhook --ca {}", path("ca.pem").display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn configure(webhook: &Webhook) -> anyhow::Result<ExitCode> {
    let ca = read(&webhook.ca, 256 * 1024)?;
    let ca = String::from_utf8(ca).ok().filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----"));
    let ca = ca.ok_or_else(|| WrongUse(format!("{}: no certificate in PEM", webhook.ca.display())))?;
    let reached = match (&webhook.url, &webhook.service) {
        (Some(url), _) => {
            let parsed = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.path() == "/");
            parsed.ok_or_else(|| WrongUse(format!("{url:?}: an address as https://HOST:PORT, without a path")))?;
            Reached::Url(url.clone())
        }
        (None, service) => {
            let text = service.as_deref().unwrap_or_default();
            service_of(text).ok_or_else(|| WrongUse(format!("{text:?}: a service as NAMESPACE/NAME[:PORT]")))?
        }
    };
    print::line(configurations(&reached, &ca, &webhook.exempt, webhook.pin).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn service_of(text: &str) -> Option<Reached> {
    let (namespace, rest) = text.split_once('/')?;
    let (name, port) = match rest.split_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)?),
        None => (rest, 443),
    };
    if namespace.is_empty() || name.is_empty() {
        return None;
    }
    Some(Reached::Service { namespace: namespace.to_owned(), name: name.to_owned(), port })
}

async fn judge(global: &Global, check: CheckManifests) -> anyhow::Result<ExitCode> {
    let (policies, registries) = match &check.config {
        None => (Policies::new(check.policy, check.trusted_root), Registries::new(check.plain_http)),
        Some(path) => {
            let config = Config::read(path)?;
            let missing = || WrongUse(format!("{} has no [admission]", path.display()));
            let admission = config.admission.ok_or_else(missing)?;
            (Policies::new(admission.policies, admission.trusted_root), Registries::new(admission.plain_http))
        }
    };
    let loaded = policies.current().map_err(|why| WrongUse(format!("the policies cannot be used: {why}")))?;
    let mut all = Vec::new();
    for path in &check.files {
        let documents =
            rollout::manifests(&read(path, MAX_FILE)?).map_err(|why| WrongUse(format!("{}: {why}", path.display())))?;
        for document in documents.iter().flat_map(items) {
            let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
            if KINDS.contains(&kind) {
                all.push(object(path, document, &loaded, &registries).await?);
            }
        }
    }
    if all.is_empty() {
        return Err(WrongUse("none of the files holds an object that runs pods".to_owned()).into());
    }
    if global.json {
        let rows: Vec<Value> =
            all.iter().map(|(name, decision)| json!({ "object": name, "decision": decision })).collect();
        print::json(&rows)?;
    } else {
        for (name, decision) in &all {
            show(name, decision)?;
        }
    }
    let denied = all.iter().any(|(_, decision)| !decision.allowed);
    Ok(if denied { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// The objects of a `List`, or the object itself.
fn items(document: &Value) -> Vec<&Value> {
    match document.get("items").and_then(Value::as_array) {
        Some(items) if document.get("kind").and_then(Value::as_str) == Some("List") => items.iter().collect(),
        _ => vec![document],
    }
}

async fn object(
    path: &Path,
    document: &Value,
    loaded: &Arc<Loaded>,
    registries: &Registries,
) -> anyhow::Result<(String, Decision)> {
    let review = Review::of_object(document).map_err(|error| WrongUse(format!("{}: {error}", path.display())))?;
    let decision = preview(loaded, registries, &review, SystemClock.now()).await;
    Ok((format!("{} {}/{}", review.kind, review.namespace, review.name), decision))
}

fn show(name: &str, decision: &Decision) -> anyhow::Result<()> {
    print::line(&format!("{name}: {}", if decision.allowed { "allowed" } else { "denied" }))?;
    for image in &decision.images {
        let word = if image.passed { "passes" } else { "fails" };
        let by = if image.by_policy.is_empty() { "no policy".to_owned() } else { image.by_policy.join(", ") };
        print::line(&format!("  {word:<7} {} {} ({by})", image.by, image.image))?;
    }
    for pin in &decision.pins {
        print::line(&format!("  pinned  {} -> {}", pin.from, pin.to))?;
    }
    for exception in &decision.exceptions {
        print::line(&format!("  except  {exception}"))?;
    }
    for reason in &decision.reasons {
        let word = match reason.mode {
            Mode::Enforce => "denied",
            Mode::Warn => "warning",
            Mode::Audit => "noted",
        };
        print::line(&format!("  {word:<7} {}", reason.text))?;
    }
    Ok(())
}
