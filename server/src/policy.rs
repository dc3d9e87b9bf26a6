//! A service's policy: a release starts only when what it asks for is there for the version's digest. Why not is said in words, and
//! written down.

use std::sync::Arc;

use async_trait::async_trait;
use controller::{CommandError, Delivery, LeftAlone, StartError, StartRequest, Traffic};
use model::{
    Command, Digest, Environment, Kind, ReleaseId, ServiceId, Tick,
    event::CommandSeen,
    evidence::{Attested, PromotionDecided, Requirement},
    gate::GatesDecided,
};
use projections::{ReadError, ReadModel, Receipt, ReceiptFilter};
use receipt_log::{Clock, Draft, Log};
use receipts::Payload;
use tokio::sync::broadcast;

use crate::{
    attestations::Attestations,
    config::{ConfigCatalogue, PolicyConfig, Statement},
    exit::WrongUse,
};

/// Receipts of one kind about one digest that are looked at, newest first: what is older than so many others has been overtaken.
const LOOK_BACK: u32 = 50;

/// What a service's releases need, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Gates that must have passed by this policy: its name and the digest of its text.
    pub gates: Option<(String, Digest)>,
    /// Attestations that must have been verified.
    pub attestations: Vec<Statement>,
    /// The environment that it must have been promoted into.
    pub promoted_to: Option<Environment>,
}

impl ServicePolicy {
    /// Reads the gates' policy that the configuration names.
    pub fn read(config: &PolicyConfig, service: &ServiceId) -> anyhow::Result<Self> {
        let gates = match config.gates.as_deref() {
            None => None,
            Some("strict") => Some(gates::Policy::strict()),
            Some(path) => {
                let wrong = |why: String| WrongUse(format!("services.{service}.policy.gates: {path}: {why}"));
                let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                Some(gates::Policy::parse(&text).map_err(|error| wrong(error.to_string()))?)
            }
        };
        Ok(Self {
            gates: gates.map(|policy| (policy.name, policy.digest)),
            attestations: config.attestations.clone(),
            promoted_to: config.promoted_to.clone(),
        })
    }

    /// The kinds of receipts that it looks at.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.attestations.iter().map(|s| s.kind()).collect();
        if self.gates.is_some() {
            kinds.extend([Kind::GatesPassed, Kind::GatesFailed]);
        }
        kinds.extend(self.promoted_to.as_ref().map(|_| Kind::PromotionCopied));
        kinds
    }

    /// Holds it against the receipts about an artifact, whatever their order. `trusts` says whose attestations count at present.
    pub fn requirements(
        &self,
        service: &ServiceId,
        receipts: &[Receipt],
        trusts: &dyn Fn(&str) -> bool,
    ) -> Vec<Requirement> {
        let mut newest: Vec<&Receipt> = receipts.iter().collect();
        newest.sort_by_key(|r| std::cmp::Reverse(r.index));
        let mut asked: Vec<Requirement> =
            self.attestations.iter().map(|statement| attested(*statement, service, &newest, trusts)).collect();
        asked.extend(self.gates.as_ref().map(|(name, digest)| gated(name, digest, &newest)));
        asked.extend(self.promoted_to.as_ref().map(|environment| promoted(environment, service, &newest)));
        asked
    }
}

fn attested(
    statement: Statement,
    service: &ServiceId,
    newest: &[&Receipt],
    trusts: &dyn Fn(&str) -> bool,
) -> Requirement {
    let what = format!("a verified {}", statement.words());
    let all = newest.iter().filter(|r| r.payload.kind == statement.kind());
    let mut all =
        all.filter_map(|r| Some((r.index, r.payload.facts::<Attested>().ok()?))).filter(|(_, f)| f.service == *service);
    let Some((first, latest)) = all.next() else {
        return Requirement { what, met: false, receipt: None, why: "none was verified for this image".to_owned() };
    };
    let counts = std::iter::once((first, latest.clone())).chain(all).find(|(_, f)| trusts(&f.signer));
    match counts {
        Some((index, f)) => {
            Requirement { what, met: true, receipt: Some(index), why: format!("signed by {}", f.signer) }
        }
        None => Requirement {
            what,
            met: false,
            receipt: Some(first),
            why: format!("it was signed by {}, whose word does not count any more", latest.signer),
        },
    }
}

fn gated(name: &str, digest: &Digest, newest: &[&Receipt]) -> Requirement {
    let what = format!("gates passed by the policy “{name}”");
    let gates = newest.iter().filter(|r| matches!(r.payload.kind, Kind::GatesPassed | Kind::GatesFailed));
    let decided: Vec<(u64, Kind, GatesDecided)> =
        gates.filter_map(|r| Some((r.index, r.payload.kind, r.payload.facts().ok()?))).collect();
    let (receipt, met, why) = match decided.iter().find(|(.., f)| f.policy_digest == *digest) {
        Some((index, Kind::GatesPassed, _)) => (Some(*index), true, "passed".to_owned()),
        Some((index, _, f)) => {
            let first = f.reasons.first().cloned().unwrap_or_else(|| "no reason is recorded".to_owned());
            let more = match f.reasons_total.saturating_sub(1) {
                0 => String::new(),
                n => format!(", and {n} more"),
            };
            (Some(*index), false, format!("they failed: {first}{more}"))
        }
        None => match decided.first() {
            Some((index, _, f)) => (
                Some(*index),
                false,
                format!("they were only asked by the policy “{}”, or another text of it", f.policy),
            ),
            None => (None, false, "no report about this image was handed in".to_owned()),
        },
    };
    Requirement { what, met, receipt, why }
}

fn promoted(environment: &Environment, service: &ServiceId, newest: &[&Receipt]) -> Requirement {
    let what = format!("a promotion to {environment}");
    let copied = newest.iter().filter(|r| r.payload.kind == Kind::PromotionCopied);
    let mut copied = copied.filter_map(|r| Some((r.index, r.payload.facts::<PromotionDecided>().ok()?)));
    match copied.find(|(_, f)| f.environment == *environment && f.service == *service) {
        Some((index, f)) => {
            Requirement { what, met: true, receipt: Some(index), why: format!("copied to {} as {}", f.to, f.tag) }
        }
        None => Requirement { what, met: false, receipt: None, why: "this image was not promoted there".to_owned() },
    }
}

/// Lets a release start only when its service's policy is met, and hands everything else on.
pub struct Guarded {
    /// What carries releases out.
    pub inner: Arc<dyn Delivery>,
    /// The log, as it is read.
    pub read: Arc<dyn ReadModel>,
    /// The log, as it is written.
    pub log: Arc<dyn Log>,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// The policies.
    pub catalogue: Arc<ConfigCatalogue>,
    /// Whose attestations count.
    pub attestations: Arc<Attestations>,
}

impl Guarded {
    /// What a service's policy asks of an artifact, and what there is. Empty: it has none.
    pub async fn requirements(&self, service: &ServiceId, digest: &Digest) -> Result<Vec<Requirement>, ReadError> {
        let Some(policy) = self.catalogue.policy(service) else { return Ok(Vec::new()) };
        let mut receipts = Vec::new();
        for kind in policy.kinds() {
            let filter = ReceiptFilter {
                kind: Some(kind),
                subject: Some(digest.clone()),
                limit: LOOK_BACK,
                ..ReceiptFilter::default()
            };
            receipts.extend(self.read.receipts(filter).await?);
        }
        Ok(policy.requirements(service, &receipts, &|signer| self.attestations.trusts(signer)))
    }

    /// Writes down that a release was not started, and why.
    async fn refuse(
        &self,
        key: String,
        request: &StartRequest,
        asked: &[Requirement],
    ) -> Result<StartError, StartError> {
        let unavailable = |why: String| StartError::Unavailable(why);
        let unmet = asked.iter().filter(|r| !r.met);
        let reasons: Vec<String> = unmet.map(|r| format!("it needs {}: {}", r.what, r.why)).collect();
        let first = format!("the policy of {} is not met by {}", request.service, request.canary.version);
        let seen = CommandSeen {
            command: "start".to_owned(),
            command_id: request.id.as_str().to_owned(),
            reason: request.reason.chars().take(Command::MAX_REASON).collect(),
            refusal: Some(format!("{first}: {}", reasons.join("; "))),
        };
        let mut payload = Payload::new(Kind::CommandRefused, self.clock.now(), request.actor.clone(), &seen)
            .map_err(|error| unavailable(error.to_string()))?;
        let requirements = serde_json::to_value(asked).map_err(|error| unavailable(error.to_string()))?;
        for (name, value) in [
            ("service", request.service.as_str().into()),
            ("version", request.canary.version.as_str().into()),
            ("subject", request.canary.digest.as_str().into()),
            ("requirements", requirements),
        ] {
            payload.facts.insert(name.to_owned(), value);
        }
        self.log.append(Draft { key, payload }).await.map_err(|error| unavailable(error.to_string()))?;
        Ok(StartError::PolicyUnmet(seen.refusal.into_iter().collect()))
    }
}

#[async_trait]
impl Delivery for Guarded {
    async fn start(&self, mut request: StartRequest) -> Result<ReleaseId, StartError> {
        let unavailable = |why: String| StartError::Unavailable(why);
        let key = format!("command/{}", request.id.as_str());
        if let Some(index) = self.log.find(&key).await.map_err(|error| unavailable(error.to_string()))? {
            let known = self.log.range(index, 1).await.map_err(|error| unavailable(error.to_string()))?;
            let refused = known.first().filter(|r| r.payload.kind == Kind::CommandRefused);
            let seen = refused.and_then(|r| r.payload.facts::<CommandSeen>().ok());
            return match seen {
                Some(seen) => Err(StartError::PolicyUnmet(seen.refusal.into_iter().collect())),
                None => self.inner.start(request).await,
            };
        }
        let asked = self.requirements(&request.service, &request.canary.digest).await;
        let asked = asked.map_err(|error| unavailable(error.to_string()))?;
        if asked.iter().any(|r| !r.met) {
            return Err(self.refuse(key, &request, &asked).await.unwrap_or_else(|unwritten| unwritten));
        }
        request.requirements = asked;
        self.inner.start(request).await
    }

    async fn command(&self, command: Command) -> Result<u64, CommandError> {
        self.inner.command(command).await
    }

    fn live(&self) -> broadcast::Receiver<(ReleaseId, Tick)> {
        self.inner.live()
    }

    fn left_alone(&self) -> Vec<LeftAlone> {
        self.inner.left_alone()
    }

    fn traffic(&self, service: &ServiceId) -> Option<Traffic> {
        self.inner.traffic(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256(&[byte; 32])
    }

    fn receipt(index: u64, kind: Kind, facts: &impl serde::Serialize) -> Receipt {
        let payload = Payload::new(kind, model::Timestamp::default(), "ci".parse().unwrap(), facts).unwrap();
        Receipt { index, payload }
    }

    fn attestation(index: u64, signer: &str) -> Receipt {
        let facts = Attested {
            service: "checkout".parse().unwrap(),
            subject: digest(1),
            predicate_type: "x".into(),
            manifest: digest(2),
            bundle: digest(3),
            signer: signer.into(),
            logged: vec![],
            source: None,
            commit: None,
            builder: None,
            invocation: None,
        };
        receipt(index, Kind::AttestationSlsa, &facts)
    }

    fn gates(index: u64, kind: Kind, policy: u8) -> Receipt {
        let facts = GatesDecided {
            decision: String::new(),
            service: None,
            subject: Some(digest(1)),
            policy: "p".into(),
            policy_digest: digest(policy),
            reports: vec![],
            findings: 0,
            failing: 0,
            waived: 0,
            reasons: vec!["trivy CVE-1".into()],
            reasons_total: 3,
            top: vec![],
            new: None,
            fixed: None,
            not_run: vec![],
            segment: digest(9),
        };
        receipt(index, kind, &facts)
    }

    fn promotion(index: u64, environment: &str, service: &str) -> Receipt {
        let facts = PromotionDecided {
            decision: "copied".into(),
            service: service.parse().unwrap(),
            environment: environment.parse().unwrap(),
            from: "oci:a".into(),
            to: "oci:b".into(),
            tag: "v1".into(),
            subject: Some(digest(1)),
            reason: String::new(),
            refusals: vec![],
            request: None,
            asked_by: None,
            manifests: 1,
            evidence: 0,
            bytes: 0,
            copied: 0,
            verified: vec![],
        };
        receipt(index, Kind::PromotionCopied, &facts)
    }

    #[test]
    fn what_counts() {
        let policy = ServicePolicy {
            gates: Some(("p".into(), digest(7))),
            attestations: vec![Statement::Slsa],
            promoted_to: Some("prod".parse().unwrap()),
        };
        let check = |receipts: &[Receipt], expected: [(bool, Option<u64>, &str); 3]| {
            let trusts = |signer: &str| signer == "key a";
            let asked = policy.requirements(&"checkout".parse().unwrap(), receipts, &trusts);
            for (r, (met, index, why)) in asked.iter().zip(expected) {
                assert!(r.met == met && r.receipt == index && r.why.contains(why), "{r:?} against {expected:?}");
            }
        };
        check(&[], [(false, None, "none was verified"), (false, None, "no report"), (false, None, "not promoted")]);
        let all = [attestation(1, "key a"), gates(2, Kind::GatesPassed, 7), promotion(3, "prod", "checkout")];
        check(&all, [(true, Some(1), "key a"), (true, Some(2), "passed"), (true, Some(3), "oci:b")]);
        // Others' signatures and policies, another environment, another service.
        let others = [attestation(1, "key b"), gates(2, Kind::GatesPassed, 8), promotion(3, "staging", "checkout")];
        check(
            &others,
            [(false, Some(1), "not count any more"), (false, Some(2), "only asked"), (false, None, "not promoted")],
        );
        let others = [attestation(1, "key b"), attestation(0, "key a"), promotion(3, "prod", "billing")];
        check(&others, [(true, Some(0), "key a"), (false, None, "no report"), (false, None, "not promoted")]);
        // What was decided last counts.
        let later = [gates(4, Kind::GatesFailed, 7), gates(2, Kind::GatesPassed, 7), gates(5, Kind::GatesPassed, 8)];
        check(&later, [(false, None, ""), (false, Some(4), "trivy CVE-1, and 2 more"), (false, None, "")]);
    }
}
