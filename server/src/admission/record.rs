//! Each decision as a receipt.

use std::sync::Arc;

use admission::{Decision, ImageDecision, Review};
use model::{
    Kind, Timestamp,
    admission::{AdmissionDecided, AdmittedImage},
};
use receipt_log::{Draft, Log};
use receipts::Payload;
use tokio::time::Instant;

use super::{Loaded, limits};

/// Who decides.
const ACTOR: &str = "admission";

/// Appends the receipt of a decision, and waits until it is durable, at most until `until`. `suffix` tells it from others of the review.
///
/// The log brings everything that is appended meanwhile into one write, so that many decisions cost one; its queue is bounded, and a full
/// one says so at once.
pub async fn record(
    log: &Arc<dyn Log>,
    suffix: &str,
    review: &Review,
    decision: &Decision,
    loaded: Option<&Loaded>,
    now: Timestamp,
    until: Instant,
) -> Result<u64, String> {
    let kind = if decision.allowed { Kind::AdmissionAllowed } else { Kind::AdmissionDenied };
    let facts = facts(review, decision, loaded);
    let actor = ACTOR.parse().map_err(|error: model::ParseError| error.to_string())?;
    let payload = Payload::new(kind, now, actor, &facts).map_err(|error| error.to_string())?;
    let payload = payload.cite(["Kubernetes admission.k8s.io/v1", "Sigstore bundle v0.3"]);
    let draft = Draft { key: format!("admission/{}{suffix}", review.uid), payload };
    match tokio::time::timeout_at(until, log.append(draft)).await {
        Ok(Ok(index)) => Ok(index),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the log did not take the receipt in time".to_owned()),
    }
}

fn facts(review: &Review, decision: &Decision, loaded: Option<&Loaded>) -> AdmissionDecided {
    let kind = match review.subresource.as_str() {
        "" => review.kind.to_string(),
        part => format!("{}/{part}", review.kind),
    };
    AdmissionDecided {
        decision: if decision.allowed { "allowed" } else { "denied" }.to_owned(),
        review: review.uid.clone(),
        operation: review.operation.as_str().to_owned(),
        object_kind: cut(&kind),
        namespace: cut(&review.namespace),
        name: cut(&review.name),
        user: cut(&review.user),
        images: decision.images.iter().take(limits::RECEIPT_IMAGES).map(image).collect(),
        images_total: decision.images.len() as u64,
        reasons: decision.reasons.iter().take(limits::RECEIPT_REASONS).map(|reason| cut(&reason.text)).collect(),
        reasons_total: decision.reasons.len() as u64,
        exceptions: decision.exceptions.iter().take(limits::RECEIPT_REASONS).map(|text| cut(text)).collect(),
        policy_digest: loaded.map(|loaded| loaded.set.digest.clone()),
        trust_root: loaded.map(|loaded| loaded.verifier.trust().digest().clone()),
    }
}

fn image(decided: &ImageDecision) -> AdmittedImage {
    AdmittedImage {
        image: cut(&decided.image),
        digest: decided.digest.clone(),
        by: cut(&decided.by),
        passed: decided.passed,
        policies: decided.by_policy.iter().take(8).map(|name| cut(name)).collect(),
        evidence: decided.evidence.iter().take(8).cloned().collect(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= limits::RECEIPT_TEXT {
        text.to_owned()
    } else {
        text.chars().take(limits::RECEIPT_TEXT - 1).chain(['…']).collect()
    }
}
