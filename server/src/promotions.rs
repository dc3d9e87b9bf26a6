//! Promotion between the configured environments: decided by their rules, carried out here, and written down.
//!
//! Where images come from and go to stands in the configuration alone; whoever asks names service, environment and tag.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use model::{
    Actor, CommandId, Digest, Environment, Kind, ServiceId,
    event::CommandSeen,
    evidence::{Attested, PromotionDecided},
};
use receipt_log::{AppendError, Clock, Draft, Log};
use receipts::Payload;
use registry::{
    At, Reference, Tag,
    environments::{Decision, Facts, Freeze, Reason, Request, Rules, decide},
    graph::Graph,
    promote::{Options, promote},
};
use tokio::sync::Mutex;

use crate::{
    attestations::Attestations,
    command::place,
    config::{Config, EnvironmentConfig, Statement},
};

/// The command by which a promotion is asked for that a second person has to agree to.
const COMMAND: &str = "promote-image";
/// Reasons in one receipt. An entry of the log has at most 65,535 bytes.
const MAX_REASONS: usize = 20;
/// Longest reason, characters.
const MAX_TEXT: usize = 400;

/// Who wants to promote what, and where to.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Idempotency key.
    pub id: CommandId,
    /// The service.
    pub service: ServiceId,
    /// Into which environment.
    pub environment: Environment,
    /// Under which tag; the same there as here.
    pub tag: Tag,
    /// The image that the tag must name.
    pub digest: Option<Digest>,
    /// The receipt of the request that this agrees to.
    pub agrees_to: Option<u64>,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

/// What came of it; durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `copied`, `refused`, or `waits` for a second person.
    pub decision: &'static str,
    /// Index of its receipt.
    pub receipt: u64,
    /// What it states.
    pub facts: PromotionDecided,
    /// True when it was decided before and nothing was done now.
    pub again: bool,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDecided {
    /// What was asked makes no sense here.
    #[error("{0}")]
    WrongUse(String),
    /// It could not be found out, or not be written down. Nothing is tagged; asking again goes on where it ended.
    #[error("{0}")]
    Unavailable(String),
}

impl From<AppendError> for NotDecided {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Promotes.
pub struct Promotions {
    environments: BTreeMap<Environment, EnvironmentConfig>,
    attestations: Arc<Attestations>,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    /// One at a time: two of the same image would copy it twice, and two of one tag race for it.
    one: Mutex<()>,
}

impl Promotions {
    /// Between the environments of this configuration.
    pub fn new(config: &Config, attestations: Arc<Attestations>, log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        Self { environments: config.environments.clone(), attestations, log, clock, one: Mutex::new(()) }
    }

    /// The environments, each after those that come before it.
    pub fn order(&self) -> Vec<Environment> {
        let depth = |environment: &EnvironmentConfig| {
            let before = |e: &&EnvironmentConfig| e.after.as_ref().and_then(|name| self.environments.get(name));
            std::iter::successors(Some(environment), |e| before(e)).take(self.environments.len()).count()
        };
        let mut order: Vec<(usize, &Environment)> =
            self.environments.iter().map(|(name, e)| (depth(e), name)).collect();
        order.sort();
        order.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Decides, copies when it is allowed, and writes down what came of it. The same id again is answered with the same.
    pub fn promote<'a>(&'a self, asked: &'a Asked) -> BoxFuture<'a, Result<Answer, NotDecided>> {
        self.promoted(asked).boxed()
    }

    async fn promoted(&self, asked: &Asked) -> Result<Answer, NotDecided> {
        let _one = self.one.lock().await;
        let key = format!("promotion/{}", asked.id.as_str());
        if let Some(index) = self.log.find(&key).await? {
            return self.recorded(index).await;
        }
        let Some(environment) = self.environments.get(&asked.environment) else {
            let there: Vec<String> = self.order().iter().map(Environment::to_string).collect();
            let there = if there.is_empty() {
                "none is configured".to_owned()
            } else {
                format!("there are {}", there.join(", "))
            };
            return Err(NotDecided::WrongUse(format!("there is no environment {}: {there}", asked.environment)));
        };
        let (from, to) = self.between(environment, asked)?;
        let mut facts = PromotionDecided {
            decision: "refused".to_owned(),
            service: asked.service.clone(),
            environment: asked.environment.clone(),
            from: from.to_string(),
            to: to.to_string(),
            tag: asked.tag.to_string(),
            subject: None,
            reason: asked.reason.clone(),
            refusals: Vec::new(),
            request: asked.agrees_to,
            asked_by: None,
            manifests: 0,
            evidence: 0,
            bytes: 0,
            copied: 0,
            verified: Vec::new(),
        };
        match self.carry_out(environment, asked, (&from, &to), &mut facts).await {
            Ok(decision) => self.write_down(&key, asked, decision, facts).await,
            Err(Stop::Refused(why)) => {
                facts.refusals.push(why);
                self.write_down(&key, asked, "refused", facts).await
            }
            Err(Stop::Unknown(error)) => Err(error),
        }
    }

    fn between(&self, environment: &EnvironmentConfig, asked: &Asked) -> Result<(Reference, Reference), NotDecided> {
        let to = environment.place(&asked.service);
        let from = match environment.after.as_ref().and_then(|before| self.environments.get(before)) {
            Some(before) => before.place(&asked.service),
            None => environment.source(&asked.service).unwrap_or_else(|| Err("nothing comes before it".to_owned())),
        };
        from.and_then(|from| Ok((from, to?))).map_err(NotDecided::WrongUse)
    }

    async fn carry_out(
        &self,
        environment: &EnvironmentConfig,
        asked: &Asked,
        (from, to): (&Reference, &Reference),
        facts: &mut PromotionDecided,
    ) -> Result<&'static str, Stop> {
        let at = At::Tag(asked.tag.clone());
        let plain = environment.plain_http;
        let found = async {
            let source = place::opened(from, false, plain).await?;
            let root = source.manifest(&at).await?;
            Ok::<_, registry::Error>((source, root))
        };
        let (source, root) = match (found.await, &environment.after) {
            (Err(error), Some(before)) if error.is_not_found() => {
                return Err(Stop::Refused(format!(
                    "{} {} has not been in {before}: promote it there first ({error})",
                    asked.service, asked.tag
                )));
            }
            (found, _) => found?,
        };
        let destination = place::opened(to, true, plain).await?;
        let digest = root.descriptor.digest.clone();
        facts.subject = Some(digest.clone());
        if let Some(wanted) = asked.digest.as_ref().filter(|wanted| **wanted != digest) {
            return Err(Stop::Refused(format!("{} in {from} is {digest}, not {wanted}", asked.tag)));
        }
        let graph = Graph::read(&*source, root).await?;
        let found = self.attestations.verify(&*source, &asked.service, &graph).await?;
        facts.refusals = missing(&environment.attestations, &found.verified, &found.notes);
        for (kind, attested, bundle) in found.verified {
            facts.verified.push(self.attested(kind, &attested, bundle, &asked.actor).await?);
        }
        let there = match destination.manifest(&at).await {
            Ok(there) => Some(there.descriptor.digest),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let request = self.request(asked).await?;
        facts.asked_by = request.as_ref().map(|(actor, ..)| actor.clone());
        let decision = decide(
            &rules(&asked.environment, environment),
            &Facts {
                digest: &digest,
                tag: asked.tag.as_str(),
                actor: &asked.actor,
                now: self.clock.now(),
                tag_there: there.as_ref(),
                // It was found there, under this tag.
                tag_before: environment.after.is_some().then_some(&digest),
                request: request.as_ref().map(|(actor, seen, at)| Request {
                    actor,
                    digest: &seen.subject,
                    environment: &seen.environment,
                    tag: &seen.tag,
                    at: *at,
                }),
            },
        );
        if let Decision::Refused(reasons) = &decision {
            facts.refusals.extend(reasons.iter().map(Reason::to_string));
        }
        if !facts.refusals.is_empty() {
            return Ok("refused");
        }
        if decision == Decision::NeedsSecond {
            return Ok("waits");
        }
        let options = Options { tag: Some(asked.tag.clone()), ..Options::default() };
        let report = promote(&*source, &At::Digest(digest), &*destination, &options, &|_| {}).await?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        (facts.manifests, facts.evidence) = (count(report.manifests), count(report.evidence.len()));
        (facts.bytes, facts.copied) = (report.bytes, report.bytes_copied);
        Ok("copied")
    }

    /// The request that is agreed to: who made it, for what, and when.
    async fn request(&self, asked: &Asked) -> Result<Option<(Actor, Wanted, model::Timestamp)>, Stop> {
        let Some(index) = asked.agrees_to else { return Ok(None) };
        let found = self.log.range(index, 1).await.map_err(NotDecided::from)?.into_iter().next();
        let found = found.filter(|r| r.index == index && r.payload.kind == Kind::CommandAccepted);
        let read = found.and_then(|r| {
            let seen: CommandSeen = r.payload.facts().ok()?;
            let wanted: Wanted = r.payload.facts().ok()?;
            let same = seen.command == COMMAND && wanted.service == asked.service;
            same.then_some((r.payload.actor, wanted, r.payload.time))
        });
        match read {
            Some(request) => Ok(Some(request)),
            None => {
                Err(Stop::Refused(format!("receipt {index} is no request to promote an image of {}", asked.service)))
            }
        }
    }

    /// The receipt of a verified attestation; the one that is there, if it was verified before.
    async fn attested(&self, kind: Kind, facts: &Attested, bundle: Vec<u8>, actor: &Actor) -> Result<u64, Stop> {
        // Every fact comes from the bundle and the configuration: the same again is the same receipt.
        let stated = serde_json::to_vec(facts).map_err(|error| NotDecided::Unavailable(error.to_string()))?;
        let key = format!("attested/{}", registry::digest_of(&stated).hex());
        if let Some(index) = self.log.find(&key).await.map_err(NotDecided::from)? {
            return Ok(index);
        }
        self.log.put_segment(bundle).await.map_err(NotDecided::from)?;
        let cite = ["in-toto Statement v1", "Sigstore bundle v0.3"];
        let payload = Payload::new(kind, self.clock.now(), actor.clone(), facts).map_err(unstated)?.cite(cite);
        Ok(self.log.append(Draft { key, payload }).await.map_err(NotDecided::from)?)
    }

    async fn write_down(
        &self,
        key: &str,
        asked: &Asked,
        decision: &'static str,
        mut facts: PromotionDecided,
    ) -> Result<Answer, NotDecided> {
        facts.decision = decision.to_owned();
        facts.refusals.truncate(MAX_REASONS);
        facts.refusals.iter_mut().for_each(|text| *text = text.chars().take(MAX_TEXT).collect());
        let kind = match decision {
            "copied" => Kind::PromotionCopied,
            "waits" => Kind::CommandAccepted,
            _ => Kind::PromotionRefused,
        };
        let mut payload = Payload::new(kind, self.clock.now(), asked.actor.clone(), &facts).map_err(unstated)?;
        if kind == Kind::CommandAccepted {
            for (name, text) in [("command", COMMAND), ("command_id", asked.id.as_str())] {
                payload.facts.insert(name.to_owned(), text.into());
            }
        }
        payload = payload.cite(["OCI image-spec 1.1", "OCI distribution-spec 1.1"]);
        let receipt = self.log.append(Draft { key: key.to_owned(), payload }).await?;
        tracing::info!(service = %asked.service, environment = %asked.environment, tag = %asked.tag, decision, receipt, "promotion");
        Ok(Answer { decision, receipt, facts, again: false })
    }

    async fn recorded(&self, index: u64) -> Result<Answer, NotDecided> {
        let lost = || NotDecided::Unavailable(format!("receipt {index} cannot be read"));
        let found = self.log.range(index, 1).await?.into_iter().next().ok_or_else(lost)?;
        let facts: PromotionDecided = found.payload.facts().map_err(|_| lost())?;
        let decision = match found.payload.kind {
            Kind::PromotionCopied => "copied",
            Kind::CommandAccepted => "waits",
            _ => "refused",
        };
        Ok(Answer { decision, receipt: index, facts, again: true })
    }
}

/// What a request is for, as its receipt says.
#[derive(serde::Deserialize)]
struct Wanted {
    service: ServiceId,
    environment: String,
    tag: String,
    subject: Digest,
}

/// Why a promotion ends before its end.
enum Stop {
    Refused(String),
    Unknown(NotDecided),
}

impl From<NotDecided> for Stop {
    fn from(error: NotDecided) -> Self {
        Self::Unknown(error)
    }
}

impl From<registry::Error> for Stop {
    fn from(error: registry::Error) -> Self {
        if error.is_refusal() {
            Self::Refused(error.to_string())
        } else {
            Self::Unknown(NotDecided::Unavailable(error.to_string()))
        }
    }
}

fn unstated(error: receipts::PayloadError) -> NotDecided {
    NotDecided::Unavailable(error.to_string())
}

fn rules(name: &Environment, environment: &EnvironmentConfig) -> Rules {
    let freeze = |f: &crate::config::FreezeConfig| Freeze { from: f.from, until: f.until, reason: f.reason.clone() };
    Rules {
        name: name.to_string(),
        after: environment.after.as_ref().map(Environment::to_string),
        two_person: environment.two_person,
        freezes: environment.freezes.iter().map(freeze).collect(),
    }
}

/// What must be attested and is not, with what speaks against what is there.
fn missing(wanted: &[Statement], verified: &[(Kind, Attested, Vec<u8>)], notes: &[String]) -> Vec<String> {
    let absent = |s: &&Statement| !verified.iter().any(|(kind, ..)| *kind == s.kind());
    let said = wanted.iter().filter(absent).map(|s| {
        let why = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        format!("the image carries no {} by anybody whose word counts{why}", s.words())
    });
    said.collect()
}
