//! Review, policies, facts and time in; allowed or denied with reasons out.

use std::collections::BTreeMap;

use model::{Digest, Timestamp};
use serde::Serialize;

use crate::{
    Authority, By, Exception, ImageName, ImageUse, Mode, Policy, PolicySet, Quorum, Review, Tags, Want, limits,
};

/// Which of the two webhooks asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The one that has the last word: it judges, and changes nothing.
    Validate,
    /// The one before it: it replaces tags by digests, and judges nothing else.
    Pin,
}

/// What has to be looked up for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The image.
    pub image: ImageName,
    /// Which digest its tag names must be found out.
    pub resolve: bool,
    /// What proves something about it must be found and verified.
    pub evidence: bool,
}

/// What was found of one image.
#[derive(Debug, Clone, PartialEq)]
pub enum Looked {
    /// It was looked up.
    Found {
        /// Its digest: the one in its name, else the one that its tag named when it was asked for.
        digest: Digest,
        /// What is proved about that digest.
        facts: Vec<Fact>,
        /// What was there and proved nothing, and why.
        notes: Vec<String>,
    },
    /// It could not be found out, and why.
    Unknown(String),
}

/// Something that is proved about a digest: the signature was verified against the trust root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// About what.
    pub subject: Digest,
    /// Who signed.
    pub signer: FactSigner,
    /// What they said.
    pub says: Says,
    /// A transparency log of the trust root has seen it, by proof.
    pub logged: bool,
    /// Times of signing that a log or a timestamp authority vouched for.
    pub times: Vec<Timestamp>,
    /// The time that the signed document itself gives: when the scan or build ended.
    pub dated: Option<Timestamp>,
    /// The digest of the bundle.
    pub document: Digest,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSigner {
    /// Somebody with a certificate.
    Certificate {
        /// The person or workflow.
        identity: String,
        /// The provider that vouched for them.
        issuer: String,
    },
    /// A key's holder.
    Key {
        /// What bundles call the key ([`crate::KeyName::hint`]).
        hint: String,
    },
}

/// What they said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// A signature, no more.
    Signature,
    /// A statement of this predicate type.
    Statement(String),
}

/// cosign's signature of an image is a statement that says nothing else.
const SIGNATURE_STATEMENT: &str = "https://sigstore.dev/cosign/sign/v1";

/// What is decided upon.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The review.
    pub review: &'a Review,
    /// The policies.
    pub policies: &'a PolicySet,
    /// What was found, by the image as it is written.
    pub looked: &'a BTreeMap<String, Looked>,
    /// Now.
    pub now: Timestamp,
    /// Which webhook asks.
    pub purpose: Purpose,
}

/// The cause of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// The bytes are no review.
    Malformed,
    /// Something in the object is not understood.
    Doubt,
    /// Not a name of an image.
    ImageName,
    /// Named by a tag.
    Tag,
    /// No policy covers it.
    NoPolicy,
    /// What the policy wants is not proved.
    Evidence,
    /// The policy refuses these images outright.
    Refused,
    /// It could not be found out.
    Unknown,
    /// The decision could not be recorded.
    NotRecorded,
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The cause.
    pub code: ReasonCode,
    /// In words.
    pub text: String,
    /// What it does.
    pub mode: Mode,
}

/// What was decided of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageDecision {
    /// Its place in the object.
    pub place: String,
    /// What uses it.
    pub by: String,
    /// As it is written.
    pub image: String,
    /// Its digest, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Nothing speaks against it.
    pub passed: bool,
    /// What it passed or failed by: policies, an exception.
    pub by_policy: Vec<String>,
    /// Bundles that the policies rest on.
    pub evidence: Vec<Digest>,
}

/// An image whose name is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinnedImage {
    /// Its place in the object.
    pub place: String,
    /// The name as it is written.
    pub from: String,
    /// The name by digest.
    pub to: String,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// It may run.
    pub allowed: bool,
    /// What speaks against it; where [`Decision::allowed`], only by what warns or is noted.
    pub reasons: Vec<Reason>,
    /// The images.
    pub images: Vec<ImageDecision>,
    /// Exceptions that it rests on, in words.
    pub exceptions: Vec<String>,
    /// Names to replace.
    pub pins: Vec<PinnedImage>,
    /// An update that changes no image.
    pub unchanged: bool,
}

impl Decision {
    /// A refusal of something that was not even looked at.
    pub fn refusal(code: ReasonCode, text: impl Into<String>) -> Self {
        let mut decision = Self::default();
        decision.refuse(code, text, Mode::Enforce);
        decision
    }

    /// Adds what speaks against it.
    pub fn refuse(&mut self, code: ReasonCode, text: impl Into<String>, mode: Mode) {
        self.reasons.push(Reason { code, text: text.into(), mode });
        self.allowed &= mode != Mode::Enforce;
    }
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            allowed: true,
            reasons: Vec::new(),
            images: Vec::new(),
            exceptions: Vec::new(),
            pins: Vec::new(),
            unchanged: false,
        }
    }
}

/// What has to be looked up, each image once.
pub fn needs(review: &Review, policies: &PolicySet, now: Timestamp, purpose: Purpose) -> Vec<Need> {
    let mut needs: BTreeMap<&str, Need> = BTreeMap::new();
    if review.unchanged {
        return Vec::new();
    }
    for used in &review.images {
        let Ok(image) = ImageName::parse(&used.image) else { continue };
        let resolve = purpose == Purpose::Pin && policies.tags == Tags::Pin && image.digest.is_none();
        let asks = |policy: &&Policy| policy.authorities.iter().any(|a| matches!(a.by, By::Key(_) | By::Keyless(_)));
        let evidence = purpose == Purpose::Validate
            && image.digest.is_some()
            && excepted(policies, &image, review, now).is_none()
            && policies.covering(&image, &review.namespace).iter().any(asks);
        if resolve || evidence {
            needs.insert(&used.image, Need { image, resolve, evidence });
        }
    }
    needs.into_values().collect()
}

/// Decides. What is not in `looked` counts as not found out.
pub fn decide(request: Request<'_>) -> Decision {
    let Request { review, policies, purpose, .. } = request;
    let mut decision = Decision::default();
    if review.unchanged {
        // A pod that runs, or is asked for already, is not judged again when something else about it changes: whoever ends it, cleans up
        // after it or counts it must not be stopped. Every pod that is made is judged when it is made.
        decision.unchanged = true;
        return decision;
    }
    for doubt in &review.doubts {
        decision.refuse(ReasonCode::Doubt, doubt.to_string(), policies.mode);
    }
    if review.images.is_empty() && review.doubts.is_empty() {
        decision.refuse(ReasonCode::Doubt, crate::Doubt::Nothing.to_string(), policies.mode);
    }
    for used in &review.images {
        match purpose {
            Purpose::Validate => judge(request, used, &mut decision),
            Purpose::Pin => pin(request, used, &mut decision),
        }
    }
    decision
}

fn pin(request: Request<'_>, used: &ImageUse, decision: &mut Decision) {
    let mode = request.policies.mode;
    let image = match ImageName::parse(&used.image) {
        Ok(image) => image,
        Err(error) => return decision.refuse(ReasonCode::ImageName, format!("{}: {error}", used.by), mode),
    };
    if image.digest.is_some() || request.policies.tags == Tags::Refuse {
        return;
    }
    match request.looked.get(&used.image) {
        Some(Looked::Found { digest, .. }) => {
            decision.pins.push(PinnedImage {
                place: used.place.clone(),
                from: used.image.clone(),
                to: image.pinned(digest),
            });
        }
        other => {
            let why = unknown(other);
            let text = format!("{}: which image {image} names could not be found out: {why}", used.by);
            decision.refuse(ReasonCode::Unknown, text, mode);
        }
    }
}

fn judge(request: Request<'_>, used: &ImageUse, decision: &mut Decision) {
    let Request { review, policies, looked, now, .. } = request;
    let before = decision.reasons.len();
    let mut verdict = ImageDecision {
        place: used.place.clone(),
        by: used.by.clone(),
        image: used.image.clone(),
        digest: None,
        passed: false,
        by_policy: Vec::new(),
        evidence: Vec::new(),
    };
    match ImageName::parse(&used.image) {
        Err(error) => decision.refuse(ReasonCode::ImageName, format!("{}: {error}", used.by), policies.mode),
        Ok(image) => {
            verdict.digest.clone_from(&image.digest);
            if image.digest.is_none() {
                let hint = match policies.tags {
                    Tags::Refuse => "name it by its digest (@sha256:…)",
                    Tags::Pin => "name it by its digest, or register the webhook that writes it (/pin)",
                };
                let text =
                    format!("{}: {image} is named by a tag, which can name another image tomorrow: {hint}", used.by);
                decision.refuse(ReasonCode::Tag, text, policies.mode);
            } else if let Some(exception) = excepted(policies, &image, review, now) {
                let Exception { owner, reason, expires, .. } = exception;
                let text = format!("{}: excepted by {owner} until {expires}: {reason}", used.by);
                verdict.by_policy.push(format!("exception of {owner}"));
                decision.exceptions.push(text);
            } else {
                let covering = policies.covering(&image, &review.namespace);
                if covering.is_empty() {
                    let text = format!("{}: no policy covers {image}{}", used.by, expired(policies, &image, review));
                    decision.refuse(ReasonCode::NoPolicy, text, policies.mode);
                }
                for policy in covering {
                    verdict.by_policy.push(policy.name.clone());
                    match by_policy(policy, &image, looked.get(&used.image), now) {
                        Ok(evidence) => verdict.evidence.extend(evidence),
                        Err((code, why)) => {
                            let end = expired(policies, &image, review);
                            let text = format!("{}: {image}: policy {:?}: {why}{end}", used.by, policy.name);
                            decision.refuse(code, text, policy.mode.unwrap_or(policies.mode));
                        }
                    }
                }
            }
        }
    }
    verdict.evidence.sort();
    verdict.evidence.dedup();
    verdict.passed = decision.reasons.len() == before;
    decision.images.push(verdict);
}

/// The exception that holds now.
fn excepted<'a>(policies: &'a PolicySet, image: &ImageName, review: &Review, now: Timestamp) -> Option<&'a Exception> {
    policies.excepting(image, &review.namespace).into_iter().find(|exception| now < exception.expires)
}

/// That an exception was there, for people who wonder. Asked only where none holds any more.
fn expired(policies: &PolicySet, image: &ImageName, review: &Review) -> String {
    match policies.excepting(image, &review.namespace).first() {
        Some(Exception { owner, expires, .. }) => format!(" (an exception of {owner} expired at {expires})"),
        None => String::new(),
    }
}

type Refusal = (ReasonCode, String);

/// What a policy says of an image: the bundles that it rests on, or why not.
fn by_policy(
    policy: &Policy,
    image: &ImageName,
    looked: Option<&Looked>,
    now: Timestamp,
) -> Result<Vec<Digest>, Refusal> {
    let mut rests = Vec::new();
    let mut refusals: Vec<Refusal> = Vec::new();
    for authority in &policy.authorities {
        match by_authority(authority, image, looked, now) {
            Ok(evidence) => {
                rests.extend(evidence);
                if policy.quorum == Quorum::Any {
                    return Ok(rests);
                }
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    // "Could not be found out" is the more careful word when both are true.
    let code = match refusals.as_slice() {
        [] if policy.authorities.is_empty() => return Err((ReasonCode::Refused, "it names no authority".to_owned())),
        [] => return Ok(rests),
        all if all.iter().any(|(code, _)| *code == ReasonCode::Unknown) => ReasonCode::Unknown,
        [(code, _), ..] => *code,
    };
    let mut why: Vec<String> = refusals.into_iter().map(|(_, why)| why).collect();
    why.dedup();
    Err((code, why.join(if policy.quorum == Quorum::Any { "; nor: " } else { "; " })))
}

fn by_authority(
    authority: &Authority,
    image: &ImageName,
    looked: Option<&Looked>,
    now: Timestamp,
) -> Result<Vec<Digest>, Refusal> {
    match &authority.by {
        By::Pass => return Ok(Vec::new()),
        By::Fail(message) => return Err((ReasonCode::Refused, message.clone())),
        By::Key(_) | By::Keyless(_) => {}
    }
    let (digest, facts, notes) = match looked {
        Some(Looked::Found { digest, facts, notes }) => (digest, facts, notes),
        other => {
            return Err((ReasonCode::Unknown, format!("its evidence could not be found out: {}", unknown(other))));
        }
    };
    if image.digest.as_ref() != Some(digest) {
        return Err((ReasonCode::Unknown, format!("evidence was looked up for another image, {digest}")));
    }
    let mut rests = Vec::new();
    for want in &authority.wants {
        let mut close: Option<String> = None;
        let found = facts.iter().take(limits::FACTS).find(|fact| match fits(authority, want, fact, digest, now) {
            Ok(()) => true,
            Err(why) => {
                close = close.take().or(why);
                false
            }
        });
        match found {
            Some(fact) => rests.push(fact.document.clone()),
            None => {
                let what = match want {
                    Want::Signature => "signature".to_owned(),
                    Want::Statement(kind) => format!("statement {kind}"),
                };
                let close = close.or_else(|| notes.first().cloned()).map(|why| format!(" ({why})")).unwrap_or_default();
                return Err((
                    ReasonCode::Evidence,
                    format!("{:?} wants a {what}, and none is proved{close}", authority.name),
                ));
            }
        }
    }
    Ok(rests)
}

/// Whether a fact is what is wanted; where it comes close, why it is not.
fn fits(
    authority: &Authority,
    want: &Want,
    fact: &Fact,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), Option<String>> {
    let said = match (&fact.says, want) {
        (Says::Statement(found), Want::Statement(wanted)) => found == wanted,
        (Says::Signature, Want::Signature) => true,
        (Says::Statement(found), Want::Signature) => found == SIGNATURE_STATEMENT,
        (Says::Signature, Want::Statement(_)) => false,
    };
    if !said || fact.subject != *digest {
        return Err(None);
    }
    match (&fact.signer, &authority.by) {
        (FactSigner::Key { hint }, By::Key(key)) if *hint == key.hint => {}
        (FactSigner::Certificate { identity, issuer }, By::Keyless(wanted))
            if wanted.iter().any(|w| w.subject.matches(identity) && w.issuer.matches(issuer)) => {}
        (FactSigner::Certificate { identity, issuer }, _) => {
            let shown = |text: &str| text.chars().take(200).collect::<String>();
            return Err(Some(format!("one is signed by {} of {}", shown(identity), shown(issuer))));
        }
        (FactSigner::Key { hint }, _) => return Err(Some(format!("one is signed by the key {hint}"))),
    }
    if authority.logged && !fact.logged {
        return Err(Some("one is there, and no transparency log has seen it".to_owned()));
    }
    if let Some(most) = authority.max_age_ms {
        // A timestamp can be had anew for an old signature, so of the proved times the oldest counts.
        let Some(at) = fact.dated.or_else(|| fact.times.iter().min().copied()) else {
            return Err(Some("one is there, and nothing proves when it was made".to_owned()));
        };
        let age = now.since(at);
        if age > most {
            return Err(Some(format!("one is there, of {at}, older than {} hours", most / 3_600_000)));
        }
        if age < -limits::CLOCK_SKEW_MS {
            return Err(Some(format!("one is there, dated {at}, which is yet to come")));
        }
    }
    Ok(())
}

fn unknown(looked: Option<&Looked>) -> String {
    match looked {
        Some(Looked::Unknown(why)) => why.chars().take(400).collect(),
        _ => "it was not looked up".to_owned(),
    }
}
