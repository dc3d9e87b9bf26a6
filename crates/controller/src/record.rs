//! What a transition states as a receipt: one pure function.
//!
//! The payload is flat: the facts of its kind (`model::event`) for readers, and beside them `transition`, the engine's own
//! form, from which the status is folded again after a restart. Facts are derived, never folded back.

use model::{
    Actor, Environment, Kind, Timestamp, Verdict,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, RollbackArmed, RollbackExecuted,
    },
};
use receipt_log::LoggedReceipt;
use rollout::{
    AnalysisScope, DriftReason, Provider, Recipe, Status, StepEnd, Transition, WeightCause,
    engine::status::PauseReason,
    recipe::{Analysis, Step},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::evidence::Evidence;

/// Field that holds the engine's own form.
const TRANSITION: &str = "transition";

/// Recovery time promised in every envelope, s: the product's limit for the swap of processes.
const RTO_S: u32 = 90;

/// Longest text derived from a recipe that a receipt repeats: a few conditions.
const MAX_TEXT: usize = 1_000;

/// What Argo's semantics are cited as.
const ARGO: &str = "Argo Rollouts 1.10";

/// What facts need beside the transition itself.
pub(crate) struct Context<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) environment: &'a Environment,
    pub(crate) runtime: &'static str,
    /// The status before, and with the transition.
    pub(crate) before: &'a Status,
    pub(crate) after: &'a Status,
    /// Requests that the new version has served so far.
    pub(crate) exposed: u64,
    /// The command's receipt, when the transition carries out a command.
    pub(crate) command: Option<u64>,
    /// When a request was last sent on to the new version.
    pub(crate) last_sent: Option<Timestamp>,
    /// How long nothing was served, when the data plane restarted.
    pub(crate) gap_ms: Option<i64>,
    /// What the verdict was computed from.
    pub(crate) evidence: Option<&'a Evidence>,
    /// What an analysis begins with.
    pub(crate) begun: &'a Map<String, Value>,
}

/// What to state.
#[derive(Debug)]
pub(crate) struct Stated {
    pub(crate) kind: Kind,
    pub(crate) actor: Actor,
    pub(crate) cite: Vec<String>,
    pub(crate) facts: Map<String, Value>,
}

/// The receipt of a transition; `None` for one that is kept as a sample.
pub(crate) fn stated(transition: &Transition, c: &Context<'_>) -> Result<Option<Stated>, serde_json::Error> {
    let Some(kind) = transition.kind() else { return Ok(None) };
    let mut facts = facts(transition, c)?;
    facts.insert(TRANSITION.to_owned(), serde_json::to_value(transition)?);
    if let Some(command) = c.command {
        facts.insert("command".to_owned(), command.into());
    }
    if let Some(gap) = c.gap_ms {
        facts.insert("gap_ms".to_owned(), gap.into());
    }
    if !matches!(transition, Transition::Started { .. }) {
        facts.insert("exposed".to_owned(), c.exposed.into());
    }
    let mut cite = vec![ARGO.to_owned()];
    if let Some(evidence) = c.evidence {
        cite.extend(evidence.cite.iter().cloned());
    }
    Ok(Some(Stated { kind, actor: actor(transition), cite, facts }))
}

/// The transition that a receipt carries; `None` for receipts of other things.
pub(crate) fn transition(receipt: &LoggedReceipt) -> Option<Result<Transition, serde_json::Error>> {
    receipt.payload.facts.get(TRANSITION).map(|t| serde_json::from_value(t.clone()))
}

/// Facts of a step's end as the built-in judge saw it: no change of status, so no transition.
pub(crate) fn judged(
    step: u32,
    verdict: Verdict,
    message: String,
    exposed: u64,
    evidence: &Evidence,
) -> Result<Stated, serde_json::Error> {
    let kind = match verdict {
        Verdict::Successful => Kind::AnalysisPassed,
        Verdict::Failed => Kind::AnalysisFailed,
        Verdict::Inconclusive => Kind::AnalysisInconclusive,
        Verdict::Error => Kind::AnalysisError,
    };
    let mut facts = object(&analysis_ended(&format!("step-{step}"), "built-in", verdict, message, evidence))?;
    facts.extend(evidence.further.clone());
    facts.insert("step".to_owned(), step.into());
    facts.insert("exposed".to_owned(), exposed.into());
    Ok(Stated { kind, actor: Actor::judge(), cite: evidence.cite.clone(), facts })
}

fn facts(transition: &Transition, c: &Context<'_>) -> Result<Map<String, Value>, serde_json::Error> {
    let steps = count(c.recipe.steps.len());
    match transition {
        Transition::Started { start, .. } => object(&CanaryStarted {
            strategy: "canary".to_owned(),
            service: start.service.clone(),
            environment: c.environment.clone(),
            version: start.canary.version.clone(),
            digest: start.canary.digest.clone(),
            stable_version: start.stable.version.clone(),
            stable_digest: start.stable.digest.clone(),
            recipe: start.recipe.clone(),
            steps,
            planned: rollout::planned_weights(c.recipe),
            planned_ms: rollout::planned_ms(c.recipe),
            stops: rollout::stops(c.recipe),
            runtime: c.runtime.to_owned(),
        }),
        Transition::EnvelopeArmed { envelope, .. } => object(&RollbackArmed {
            previous_image: envelope.previous_digest.clone(),
            previous_version: envelope.previous_version.clone(),
            down_migration: envelope.down_migration.clone().unwrap_or_else(|| "none".to_owned()),
            flags_off: envelope.flags_off.clone(),
            acts: envelope.acts().iter().map(|a| a.as_str().to_owned()).collect(),
            rto_s: RTO_S,
        }),
        Transition::WeightApplied { at, operation, cause, epoch, .. } => {
            let step = match cause {
                WeightCause::Step { step, .. } => *step,
                _ => c.before.step,
            };
            let mut facts = stepped(c, step, *at, *epoch, operation)?;
            facts.insert("cause".to_owned(), cause_words(*cause).into());
            Ok(facts)
        }
        Transition::WeightDrifted { at, expected, seen, reason } => {
            let mut facts = stepped(c, c.before.step, *at, c.before.epoch, "")?;
            facts.insert("from_weight".to_owned(), serde_json::to_value(expected)?);
            facts.insert("weight".to_owned(), serde_json::to_value(seen)?);
            let words = match reason {
                DriftReason::DeadMan => "the data plane went to 0 % by itself: its controller was gone too long",
                DriftReason::Seen => "the weight in force was not the one that was set",
            };
            facts.insert("cause".to_owned(), words.into());
            Ok(facts)
        }
        Transition::StepCompleted { at, step, end, .. } => {
            let mut facts = stepped(c, *step, *at, c.before.epoch, "")?;
            let words = match end {
                StepEnd::Done => "the step is done",
                StepEnd::Skipped => "a person skipped the step",
                StepEnd::FastRollback => "a recent version is back: its steps are skipped",
            };
            facts.insert("cause".to_owned(), words.into());
            Ok(facts)
        }
        Transition::PauseStarted { reason, step, until, .. } => object(&CanaryPaused {
            reason: match reason {
                PauseReason::CanaryPauseStep => "step".to_owned(),
                PauseReason::InconclusiveAnalysisRun => "inconclusive".to_owned(),
            },
            until: *until,
            weight: c.after.exposure(),
            step: *step,
        }),
        Transition::Held { reason, .. } => object(&CanaryPaused {
            reason: if reason.is_empty() { "person".to_owned() } else { reason.clone() },
            until: None,
            weight: c.after.exposure(),
            step: c.before.step,
        }),
        Transition::PauseEnded { at, step, actor, .. } => object(&CanaryResumed {
            reason: match actor {
                Some(actor) => format!("ended by {actor}"),
                None if c.before.pauses.iter().any(|p| p.until.is_some_and(|until| until > *at)) => {
                    "certified before its time was up".to_owned()
                }
                None => "its time is up".to_owned(),
            },
            paused_ms: c.before.pauses.iter().map(|p| at.since(p.started)).max().unwrap_or(0),
            step: *step,
        }),
        Transition::Released { at, .. } => object(&CanaryResumed {
            reason: "a person resumed it".to_owned(),
            paused_ms: c.before.held.as_ref().map_or(0, |h| at.since(h.at)),
            step: c.before.step,
        }),
        Transition::PromotedFull { reason, .. } => object(&resumed("promoted in full", reason, c.before.step)),
        Transition::Retried { reason, .. } => object(&resumed("tried again", reason, c.after.step)),
        Transition::AnalysisStarted { run, scope, .. } => {
            let analysis = analysis(c.recipe, *scope);
            let mut facts = Map::new();
            facts.insert("analysis".to_owned(), run.as_str().into());
            facts.insert("scope".to_owned(), scope_word(*scope, analysis).into());
            facts.insert("rule".to_owned(), rule(analysis).into());
            facts.extend(c.begun.clone());
            Ok(facts)
        }
        Transition::Measured { .. } => Ok(Map::new()),
        Transition::AnalysisEnded { run, verdict, message, .. } => {
            let scope = [&c.before.background, &c.before.step_run]
                .into_iter()
                .flatten()
                .find(|r| r.run == *run)
                .map(|r| r.scope);
            let analysis = scope.and_then(|s| analysis(c.recipe, s));
            let word = scope.map_or("background", |s| scope_word(s, analysis));
            let none = Evidence { rule: rule(analysis), ..Evidence::default() };
            let evidence = c.evidence.unwrap_or(&none);
            let mut facts = object(&analysis_ended(run, word, *verdict, message.clone(), evidence))?;
            facts.extend(evidence.further.clone());
            Ok(facts)
        }
        Transition::Aborted { breach_at, reason, automatic, weight, .. } => object(&CanaryAborted {
            reason: reason.clone(),
            automatic: *automatic,
            weight: *weight,
            breach_at: *breach_at,
            command: c.command,
        }),
        Transition::SlotsPromoted { back, .. } => {
            let now_stable = if *back { &c.before.start.stable } else { &c.before.start.canary };
            let reason = match (back, c.before.promote_full) {
                (true, _) => "rolled back",
                (false, true) => "a person skipped what was left",
                (false, false) => "all steps are done",
            };
            let mut facts = object(&CanaryPromoted {
                full: c.before.promote_full,
                version: now_stable.version.clone(),
                digest: now_stable.digest.clone(),
                reason: reason.to_owned(),
            })?;
            facts.insert("back".to_owned(), (*back).into());
            Ok(facts)
        }
        Transition::ActDone { act, order, of, result, took_ms, .. } => object(&RollbackExecuted {
            act: act.as_str().to_owned(),
            order: *order,
            of: *of,
            result: result.clone(),
            took_ms: *took_ms,
        }),
        Transition::Completed { at, outcome } => {
            let abort = c.before.abort.as_ref();
            let since_breach = |t: Option<Timestamp>| Some(t?.since(abort?.breach_at));
            object(&CanaryCompleted {
                outcome: *outcome,
                took_ms: at.since(c.before.started_at),
                breach_to_zero_ms: since_breach(abort.and_then(|a| a.zero_at)),
                breach_to_last_request_ms: abort.and_then(|_| since_breach(c.last_sent)),
                zero_to_drained_ms: abort.and_then(|a| Some(a.drained_at?.since(a.zero_at?))),
                rto_ms: since_breach(abort.and_then(|a| a.drained_at)),
                exposed: c.exposed,
            })
        }
    }
}

fn stepped(
    c: &Context<'_>,
    step: u32,
    at: Timestamp,
    epoch: model::Epoch,
    operation: &str,
) -> Result<Map<String, Value>, serde_json::Error> {
    object(&CanaryStepped {
        strategy: "canary".to_owned(),
        step,
        steps: count(c.recipe.steps.len()),
        from_weight: c.before.exposure(),
        weight: c.after.exposure(),
        applied_at: at,
        epoch,
        operation: operation.to_owned(),
    })
}

fn resumed(what: &str, reason: &str, step: u32) -> CanaryResumed {
    let reason = if reason.is_empty() { what.to_owned() } else { format!("{what}: {reason}") };
    CanaryResumed { reason, paused_ms: 0, step }
}

fn analysis_ended(run: &str, scope: &str, verdict: Verdict, message: String, e: &Evidence) -> AnalysisEnded {
    AnalysisEnded {
        analysis: run.to_owned(),
        scope: scope.to_owned(),
        verdict,
        message,
        rule: e.rule.clone(),
        measurements: e.measurements,
        segment: e.segment.clone(),
        from: e.from,
        to: e.to,
        canary: e.canary.clone(),
        stable: e.stable.clone(),
    }
}

/// The analysis that a run carries out.
pub(crate) fn analysis(recipe: &Recipe, scope: AnalysisScope) -> Option<&Analysis> {
    match scope {
        AnalysisScope::Background => recipe.background.as_ref().map(|b| &b.analysis),
        AnalysisScope::Step(step) => match recipe.steps.get(usize::try_from(step).ok()?)? {
            Step::Analysis(analysis) => Some(analysis),
            _ => None,
        },
    }
}

fn scope_word(scope: AnalysisScope, analysis: Option<&Analysis>) -> &'static str {
    let builtin = analysis
        .is_some_and(|a| !a.metrics.is_empty() && a.metrics.iter().all(|m| matches!(m.provider, Provider::Builtin(_))));
    match scope {
        _ if builtin => "built-in",
        AnalysisScope::Background => "background",
        AnalysisScope::Step(_) => "step",
    }
}

/// The rule in words: name of the built-in one, or the metrics' conditions.
pub(crate) fn rule(analysis: Option<&Analysis>) -> String {
    let words = analysis.map(|a| {
        let metrics =
            a.metrics.iter().map(|m| match (&m.provider, m.success_condition.as_str(), m.failure_condition.as_str()) {
                (Provider::Builtin(b), ..) => b.rule.clone(),
                (_, "", "") => format!("{}: any value", m.name),
                (_, success, "") => format!("{}: {success}", m.name),
                (_, "", failure) => format!("{}: not ({failure})", m.name),
                (_, success, failure) => format!("{}: {success}, not ({failure})", m.name),
            });
        metrics.collect::<Vec<_>>().join("; ")
    });
    words.unwrap_or_default().chars().take(MAX_TEXT).collect()
}

fn cause_words(cause: WeightCause) -> &'static str {
    match cause {
        WeightCause::Step { .. } => "a step of the recipe",
        WeightCause::Full => "all steps are done",
        WeightCause::Abort => "abort",
        WeightCause::Rollback => "rollback",
        WeightCause::NotReady => "the version that gets traffic is not ready",
    }
}

fn actor(transition: &Transition) -> Actor {
    match transition {
        Transition::Held { actor, .. }
        | Transition::Released { actor, .. }
        | Transition::PromotedFull { actor, .. }
        | Transition::Aborted { actor, .. }
        | Transition::Retried { actor, .. }
        | Transition::StepCompleted { actor: Some(actor), .. }
        | Transition::PauseEnded { actor: Some(actor), .. } => actor.clone(),
        Transition::AnalysisEnded { .. } => Actor::judge(),
        _ => Actor::controller(),
    }
}

fn object(facts: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(facts)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
