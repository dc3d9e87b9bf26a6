//! Recording: transitions become receipts, verdicts get their evidence, a release that has ended gets its sum.

use judge::{
    Judge,
    sequential::{Beginning, History, Policy},
};
use model::{Energy, HistogramBucket, Timestamp, Weight};
use receipt_log::{AppendError, Draft};
use receipts::Payload;
use rollout::Transition;
use serde_json::{Map, Value};

use crate::{
    complete,
    evidence::{Evidence, Judging, Segments, beginning_facts, measurements_segment, rule_of},
    limits::{BUSY_TRIES, BUSY_WAIT, REBUILD_PAGE},
    record::{self, Stated},
    task::{Halt, Task},
};

impl Task {
    /// Applies a transition and appends its receipt.
    pub(crate) async fn record(&mut self, transition: Transition, energy: Option<Energy>) -> Result<(), Halt> {
        self.defer(transition, energy).await?;
        self.flush().await
    }

    /// Applies a transition and keeps its receipt for [`Task::flush`]: only for what must not wait for the disk.
    pub(crate) async fn defer(&mut self, transition: Transition, energy: Option<Energy>) -> Result<(), Halt> {
        let mut energy = energy;
        let evidence = match &transition {
            Transition::AnalysisEnded { run, .. } => {
                energy = energy::sum(energy.iter().chain(self.judging.as_mut().and_then(Judging::take_energy).iter()));
                self.evidence_of(run).await
            }
            _ => None,
        };
        let begun = match &transition {
            Transition::AnalysisStarted { at, scope, .. } => self.begin_judging(*scope, *at).await,
            _ => Map::new(),
        };
        if matches!(transition, Transition::SlotsPromoted { .. }) {
            // Another version is stable: its past begins now.
            self.past = History::new(Policy::default().history_s);
            self.tell_traffic();
        }
        let gap_ms = match &transition {
            Transition::WeightApplied { .. } | Transition::WeightDrifted { .. } => self.gap_ms.take(),
            _ => None,
        };
        let Some(active) = &mut self.active else { return Ok(()) };
        let before = active.status.clone();
        active.status.apply(&transition);
        if matches!(transition, Transition::Completed { .. }) {
            active.summed = false;
        }
        let context = record::Context {
            recipe: &active.recipe,
            environment: &active.environment,
            runtime: self.deps.runtime.name(),
            before: &before,
            after: &active.status,
            exposed: active.exposed,
            command: self.command,
            last_sent: self.last_sent,
            gap_ms,
            evidence: evidence.as_ref(),
            begun: &begun,
        };
        let stated = record::stated(&transition, &context).map_err(|e| Halt::Unrecordable(e.to_string()))?;
        let Some(stated) = stated else { return Ok(()) };
        let key = format!("{}/{:04}", active.release, active.seq);
        active.seq += 1;
        let time = transition.at();
        self.post(key, time, stated, energy)
    }

    /// Puts a receipt of this release into the outbox.
    pub(crate) fn post(
        &mut self,
        key: String,
        time: Timestamp,
        stated: Stated,
        energy: Option<Energy>,
    ) -> Result<(), Halt> {
        let Stated { kind, actor, cite, facts } = stated;
        let mut payload = Payload::new(kind, time, actor, &Value::Object(facts))
            .map_err(|e| Halt::Unrecordable(e.to_string()))?
            .cite(cite);
        if let Some(active) = &self.active {
            payload = payload.release(active.release.clone());
        }
        if let Some(energy) = energy {
            payload = payload.energy(energy);
        }
        self.outbox.push(Draft { key, payload });
        Ok(())
    }

    /// Appends what is in the outbox, in order.
    pub(crate) async fn flush(&mut self) -> Result<(), Halt> {
        for draft in std::mem::take(&mut self.outbox) {
            self.append(draft).await?;
        }
        Ok(())
    }

    pub(crate) async fn append(&self, draft: Draft) -> Result<u64, Halt> {
        let mut tries = 0;
        loop {
            match self.deps.log.append(draft.clone()).await {
                Ok(index) => return Ok(index),
                Err(AppendError::Busy(_)) if tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                // Keys are counted: somebody else recorded something under ours.
                Err(AppendError::KeyReused(key)) => {
                    return Err(Halt::Overtaken(format!("the receipt {key} was recorded by somebody else")));
                }
                Err(error) => return Err(Halt::Log(error)),
            }
        }
    }

    /// What a run's verdict was computed from: the judge's ticks, or its measurements.
    async fn evidence_of(&self, run: &str) -> Option<Evidence> {
        let active = self.active.as_ref()?;
        if active.status.builtin(&active.recipe).is_some_and(|(builtin, ..)| builtin == run) {
            return self.judge_evidence().await;
        }
        let scope =
            [&active.status.background, &active.status.step_run].into_iter().flatten().find(|r| r.run == run)?.scope;
        let mut measurements = match self.deps.samples.measurements(&active.release).await {
            Ok(measurements) => measurements,
            Err(error) => {
                tracing::error!(release = %active.release, %error, "measurements could not be read: the verdict's receipt names none");
                Vec::new()
            }
        };
        measurements.retain(|m| m.run == run);
        let segment = match measurements_segment(&measurements) {
            Some(bytes) => self.put_segment(bytes).await,
            None => None,
        };
        Some(Evidence {
            rule: record::rule(record::analysis(&active.recipe, scope)),
            measurements: measurements.len() as u64,
            segment,
            from: measurements.first().map(|m| m.started),
            to: measurements.last().map(|m| m.finished),
            cite: self.peers.get(run).into_iter().flatten().cloned().collect(),
            ..Evidence::default()
        })
    }

    async fn judge_evidence(&self) -> Option<Evidence> {
        let judging = self.judging.as_ref()?;
        let mut segments = Segments::default();
        if let Some(bytes) = judging.segment() {
            segments.ticks = self.put_segment(bytes).await;
        }
        if let Some(feed) = judging.feed() {
            for piece in feed.pieces() {
                segments.tables.extend(self.put_segment(piece.clone()).await);
            }
            if let Some(source) = feed.source() {
                segments.histogram = self.put_histogram(source).await;
            }
        }
        judging.evidence(segments, self.counting.as_ref())
    }

    async fn put_histogram(&self, histogram: &[HistogramBucket]) -> Option<model::Digest> {
        let bytes = serde_json::to_vec(histogram).ok()?;
        self.put_segment(bytes).await
    }

    /// An analysis begins. For the sequential judge, what its evidence rests on is fixed now, from stable's past, and stated: after a
    /// crash the evidence is rebuilt from it. One rollout is judged once, whatever analyses it has.
    async fn begin_judging(&mut self, scope: rollout::AnalysisScope, at: Timestamp) -> Map<String, Value> {
        let none = Map::new();
        let Some(active) = &self.active else { return none };
        let builtin = record::analysis(&active.recipe, scope).and_then(|a| {
            a.metrics.iter().find_map(|m| match &m.provider {
                rollout::Provider::Builtin(builtin) => Some(builtin),
                _ => None,
            })
        });
        let Some(Ok(rule)) = builtin.map(rule_of) else { return none };
        let (attempt, since) = (active.status.attempt, active.status.applied_at);
        let known = self.judging.as_ref().filter(|j| j.attempt() == attempt);
        // The run under way keeps its judge; so does one that follows under the same rule.
        let goes_on = active.status.builtin(&active.recipe).is_some();
        if let Some(judging) = known.filter(|j| goes_on || *j.rule() == rule) {
            return judging.feed().map_or(none, |feed| beginning_facts(judging.rule(), feed.beginning(), None));
        }
        let judge::Rule::Sequential(policy) = &rule else {
            self.judging = Some(Judging::new(Judge::new(rule), attempt, since));
            return none;
        };
        let largest = largest_share(&active.recipe);
        let (beginning, past) = self.beginning(policy, largest, at);
        let histogram = past.histogram();
        let digest = match beginning.limits {
            Some(_) => self.put_histogram(&histogram).await,
            None => None,
        };
        let mut facts = beginning_facts(&rule, &beginning, digest);
        if let Some(counting) = &self.counting {
            if let Some(warning) = counting.warning() {
                tracing::warn!(service = %self.service, warning, "the judge sees less than it is asked to");
            }
            facts.insert("counters".to_owned(), counting.facts(beginning.limits, policy));
        }
        self.judging = Some(Judging::new(Judge::begin(rule, beginning), attempt, since));
        facts
    }

    /// After a restart: the evidence of the attempt under way, from what its analysis began with and the seconds that were kept.
    pub(crate) async fn rebuild_judging(&mut self) -> Result<(), Halt> {
        let Some(active) = &self.active else { return Ok(()) };
        let (release, attempt, since) = (active.release.clone(), active.status.attempt, active.status.applied_at);
        let of_attempt = format!("{release}.{attempt}.");
        let receipts = self.deps.log.of_release(&release).await.map_err(Halt::Log)?;
        let begun = receipts.iter().find_map(|r| {
            let facts = &r.payload.facts;
            let run = facts.get("analysis")?.as_str()?;
            if r.payload.kind != model::Kind::AnalysisStarted || !run.starts_with(&of_attempt) {
                return None;
            }
            let beginning: Beginning = serde_json::from_value(facts.get("beginning")?.clone()).ok()?;
            let rule: judge::Rule = serde_json::from_value(facts.get("policy")?.clone()).ok()?;
            Some((rule, beginning))
        });
        let Some((rule, beginning)) = begun else { return Ok(()) };
        let mut from = beginning.from;
        let mut judging = Judging::new(Judge::begin(rule, beginning), attempt, since);
        let mut seconds = 0_u64;
        let mut counted = None;
        loop {
            let ticks = match self.deps.samples.ticks(&release, from, REBUILD_PAGE).await {
                Ok(ticks) => ticks,
                Err(error) => {
                    tracing::error!(%release, %error, "seconds could not be read back: the evidence goes on from what was read");
                    break;
                }
            };
            let Some(last) = ticks.last() else { break };
            from = last.at.plus_millis(1);
            seconds += ticks.len() as u64;
            for tick in &ticks {
                judging.again(tick);
                counted = counted.max(tick.counted.last().map(|c| c.at));
            }
        }
        tracing::info!(%release, seconds, "the evidence was rebuilt from the seconds kept");
        self.judging = Some(judging);
        if let (Some(counting), Some(counted)) = (&mut self.counting, counted) {
            counting.go_on_from(counted);
        }
        Ok(())
    }

    async fn put_segment(&self, bytes: Vec<u8>) -> Option<model::Digest> {
        match self.deps.log.put_segment(bytes).await {
            Ok(digest) => Some(digest),
            Err(error) => {
                tracing::error!(service = %self.service, %error, "a segment was not kept: the receipt names none");
                None
            }
        }
    }

    /// States how the built-in judge saw a step that is about to end with a larger weight.
    pub(crate) async fn state_judgement(&mut self) -> Result<(), Halt> {
        let Some(active) = &self.active else { return Ok(()) };
        let judged =
            self.judging.as_ref().filter(|j| j.since() == active.status.applied_at).and_then(Judging::judgement);
        let Some(judgement) = judged else { return Ok(()) };
        if active.status.applied == Weight::ZERO || active.status.swapped {
            return Ok(());
        }
        let (verdict, message, at) =
            (judgement.verdict, judgement.message.clone(), judgement.at.unwrap_or_else(|| self.deps.clock.now()));
        let (step, exposed) = (active.status.step, active.exposed);
        let key = format!("{}/judged/{}", active.release, active.status.weight_changes);
        // After a crash the same step is judged on other ticks: what was stated first stays.
        if matches!(self.deps.log.find(&key).await, Ok(Some(_))) {
            return Ok(());
        }
        let Some(evidence) = self.judge_evidence().await else { return Ok(()) };
        let energy = self.judging.as_mut().and_then(Judging::take_energy);
        let stated = record::judged(step, verdict, message, exposed, &evidence)
            .map_err(|e| Halt::Unrecordable(e.to_string()))?;
        self.post(key, at, stated, energy)?;
        self.flush().await
    }

    /// A release that has ended gets its sum.
    pub(crate) async fn sum_up(&mut self) -> Result<(), Halt> {
        let Some(active) = self.active.as_ref().filter(|a| !a.summed) else { return Ok(()) };
        let Some(outcome) = active.status.outcome else { return Ok(()) };
        let receipts = self.deps.log.of_release(&active.release).await.map_err(Halt::Log)?;
        let (facts, energy) = complete::completed(outcome, &receipts);
        let key = format!("{}/sum/{}", active.release, active.sums);
        let Value::Object(facts) = serde_json::to_value(&facts).map_err(|e| Halt::Unrecordable(e.to_string()))? else {
            return Ok(());
        };
        let stated = Stated {
            kind: model::Kind::ReleaseCompleted,
            actor: model::Actor::controller(),
            cite: vec!["RFC 6962".to_owned()],
            facts,
        };
        let now = self.deps.clock.now();
        tracing::info!(release = %active.release, outcome = outcome.as_str(), "release ended");
        self.post(key, now, stated, energy)?;
        self.flush().await?;
        if let Some(active) = &mut self.active {
            active.sums += 1;
            active.summed = true;
        }
        self.judging = None;
        self.measuring.clear();
        self.peers.clear();
        Ok(())
    }
}

/// The largest share of requests at which the canary is compared with stable.
fn largest_share(recipe: &rollout::Recipe) -> f64 {
    let weights = recipe.steps.iter().filter_map(|s| match s {
        rollout::recipe::Step::SetWeight(weight) => Some(weight.percent()),
        _ => None,
    });
    f64::from(weights.filter(|w| *w < 100).max().unwrap_or(100)) / 100.0
}
