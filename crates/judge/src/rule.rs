//! Rules, and the judge that applies one to ticks as they come.

use std::collections::VecDeque;

use model::{Judged, Tick, Timestamp, Verdict, event::WindowStats};
use serde::{Deserialize, Serialize};

use crate::{
    budget::{Budget, BudgetLedger, DEFAULT_SLO},
    sequential::{Beginning, Cause, Feed, Measure, Mode, ModeChoice, Policy, sentence},
    threshold::{MAX_WINDOW_S, Threshold},
    window::{Gathered, Span, WindowName, sane},
};

/// The rule in force, with its policy. Kept in the receipt of every verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule")]
#[non_exhaustive]
pub enum Rule {
    /// Running evidence that may be looked at every second.
    Sequential(Policy),
    /// Two limits, each with its number of votes.
    Threshold(Threshold),
}

impl Default for Rule {
    fn default() -> Self {
        Self::Sequential(Policy::default())
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of the canary's requests that failed.
    ErrorRatio,
    /// The canary's 99th percentile latency, ms.
    P99,
}

/// What a metric says of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vote {
    /// Within its limit.
    Keep,
    /// Beyond its limit.
    Reject,
    /// Too little to say.
    Absent,
}

/// One metric over one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which metric.
    pub metric: Metric,
    /// Over which window.
    pub window: WindowName,
    /// The canary's value.
    pub value: Option<f64>,
    /// Stable's value, where it is compared with.
    pub baseline: Option<f64>,
    /// The limit in force.
    pub limit: Option<f64>,
    /// What it says.
    pub vote: Vote,
    /// The same in words: metric, value, limit, window.
    pub sentence: String,
}

/// A metric beyond its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// Which metric.
    pub metric: Metric,
    /// Over which window.
    pub window: WindowName,
    /// The canary's value.
    pub value: f64,
    /// The limit in force.
    pub limit: f64,
    /// The same in words.
    pub sentence: String,
}

/// The canary's mean against stable's standard deviation. Reported, not deciding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sigma {
    /// Stable's mean, ms.
    pub stable_mean_ms: f64,
    /// Stable's standard deviation, ms.
    pub stable_sigma_ms: f64,
    /// The canary's mean, ms.
    pub canary_mean_ms: f64,
    /// True when the means differ by at most one standard deviation.
    pub within: bool,
}

/// What a rule says after a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// End of the last tick; the moment of the breach when it rejects. `None` without ticks.
    pub at: Option<Timestamp>,
    /// Failed, Successful or Inconclusive; never Error.
    pub verdict: Verdict,
    /// One sentence that names metric, value, limit and window.
    pub message: String,
    /// Metrics beyond their limits, shortest window first.
    pub breaches: Vec<Breach>,
    /// Every metric over every window.
    pub evidence: Vec<Evidence>,
    /// The window that decided: the first that rejects, else the whole step.
    pub window: WindowName,
    /// What that window covers.
    pub span: Span,
    /// The canary's sufficient statistics in it.
    pub canary: WindowStats,
    /// Stable's sufficient statistics in it.
    pub stable: WindowStats,
    /// Canary against one standard deviation of stable, over the step; `None` without latencies of both.
    pub sigma: Option<Sigma>,
    /// Burn rates of the error budget.
    pub budget: Budget,
}

/// Applies a rule to ticks as they come. Bounded: sums of the step, the last minute's ticks, six hours of counts.
#[derive(Debug, Clone)]
pub struct Judge {
    rule: Rule,
    feed: Option<Box<Feed>>,
    judged: Option<Judged>,
    step: Gathered,
    recent: VecDeque<Tick>,
    budget: BudgetLedger,
    last: Option<(String, u64, Timestamp)>,
}

/// The judgement after the last of these ticks, all of one step.
pub fn judge(rule: &Rule, ticks: &[Tick]) -> Judgement {
    let mut judge = Judge::new(rule.clone());
    for tick in ticks {
        judge.take(tick);
    }
    judge.judgement()
}

impl Rule {
    /// The names of the rules, the default first.
    pub const NAMES: [&str; 2] = ["sequential", "threshold"];

    /// The rule of this name, with its default policy.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sequential" => Some(Self::Sequential(Policy::default())),
            "threshold" => Some(Self::Threshold(Threshold::default())),
            _ => None,
        }
    }

    /// Name stored in receipts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sequential(_) => "sequential",
            Self::Threshold(_) => "threshold",
        }
    }

    /// The verdict again, from the sufficient statistics of the window that decided. `None` for a rule whose verdict is a function of
    /// the table of ticks ([`crate::sequential::replay`]).
    pub fn recompute(&self, canary: &WindowStats, stable: &WindowStats) -> Option<Verdict> {
        match self {
            Self::Sequential(_) => None,
            Self::Threshold(t) => Some(Threshold::verdict(&t.look(WindowName::Step, canary, stable, true))),
        }
    }
}

impl Judge {
    /// A judge that has seen nothing.
    pub fn new(rule: Rule) -> Self {
        let from = Timestamp::from_millis(0);
        // Nothing is known of the past: blocks are right under any dependence.
        Self::begin(rule, Beginning { choice: ModeChoice::fixed(Mode::Blocks), limits: None, from, every_s: None })
    }

    /// A judge that has seen nothing, with what was fixed beforehand from stable's past.
    pub fn begin(rule: Rule, beginning: Beginning) -> Self {
        let feed = match &rule {
            // A policy that promises nothing judges nothing.
            Rule::Sequential(policy) => Feed::new(policy.clone(), beginning).ok().map(Box::new),
            Rule::Threshold(_) => None,
        };
        Self {
            rule,
            feed,
            judged: None,
            step: Gathered::default(),
            recent: VecDeque::new(),
            budget: BudgetLedger::default(),
            last: None,
        }
    }

    /// The sequential judge's feed, where that is the rule.
    pub fn feed(&self) -> Option<&Feed> {
        self.feed.as_deref()
    }

    /// What the sequential judge said after the last tick.
    pub fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }

    /// The rule in force.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// A new step (or weight) begins: what was seen before it no longer counts, except for the error budget.
    pub fn begin_step(&mut self) {
        self.step = Gathered::default();
        self.recent.clear();
    }

    /// Takes a tick and judges.
    pub fn push(&mut self, tick: &Tick) -> Judgement {
        self.take(tick);
        self.judgement()
    }

    /// Takes a tick without judging; answers whether it was new.
    pub fn take(&mut self, tick: &Tick) -> bool {
        if let Some((boot, seq, at)) = &self.last
            && ((*boot == tick.boot && tick.seq <= *seq) || tick.at < *at)
        {
            return false;
        }
        self.last = Some((tick.boot.clone(), tick.seq, tick.at));
        self.budget.add(tick);
        if let Some(feed) = &mut self.feed {
            self.judged = feed.push(tick);
            self.step.add_counts(tick);
            return true;
        }
        self.step.add(tick);
        while self.recent.len() >= MAX_WINDOW_S as usize {
            self.recent.pop_front();
        }
        self.recent.push_back(tick.clone());
        true
    }

    /// What the rule says now.
    pub fn judgement(&self) -> Judgement {
        match &self.rule {
            Rule::Sequential(policy) => self.sequential(policy),
            Rule::Threshold(t) => self.threshold(t),
        }
    }

    fn sequential(&self, policy: &Policy) -> Judgement {
        use crate::sequential::Verdict as Said;
        let (canary, stable) = (self.step.canary.stats(u64::MAX), self.step.stable.stats(u64::MAX));
        let said = self.feed.as_ref().map_or(Said::Inconclusive, |f| f.judge().verdict());
        let verdict = match said {
            Said::Regressed => Verdict::Failed,
            Said::Certified | Said::Unrefuted => Verdict::Successful,
            Said::Inconclusive => Verdict::Inconclusive,
        };
        let message = self
            .feed
            .as_ref()
            .map_or_else(|| "the judge has no usable policy, so it judges nothing".to_owned(), |f| sentence(f));
        let cause = self.feed.as_ref().and_then(|f| f.judge().cause());
        let breaches = cause
            .map(|cause| {
                let metric = match cause {
                    Cause::Measures(ref of) if of.iter().all(|m| *m == Measure::P99) => Metric::P99,
                    Cause::Joint(Measure::P99) => Metric::P99,
                    _ => Metric::ErrorRatio,
                };
                let value = self.feed.as_ref().map_or(0.0, |f| f.judge().ln_e().joint);
                let (window, limit) = (WindowName::Step, policy.abort_at());
                vec![Breach { metric, window, value, limit, sentence: message.clone() }]
            })
            .unwrap_or_default();
        Judgement {
            at: self.step.span.to,
            verdict,
            message,
            breaches,
            evidence: Vec::new(),
            window: WindowName::Step,
            span: self.step.span,
            sigma: sigma(&canary, &stable),
            canary,
            stable,
            budget: self.budget.report(DEFAULT_SLO),
        }
    }

    fn threshold(&self, rule: &Threshold) -> Judgement {
        let stats = |g: &Gathered| (g.canary.stats(rule.p99_requests), g.stable.stats(rule.p99_requests));
        let (canary, stable) = stats(&self.step);
        let sigma = sigma(&canary, &stable);
        let mut evidence = Vec::new();
        let mut deciding = None;
        if let Some(now) = self.step.span.to {
            for seconds in rule.windows() {
                let window = WindowName::Last(seconds);
                let gathered = Gathered::last(&self.recent, now, seconds);
                let (canary, stable) = stats(&gathered);
                let seen = rule.look(window, &canary, &stable, false);
                if deciding.is_none() && Threshold::verdict(&seen) == Verdict::Failed {
                    deciding = Some((window, gathered.span, canary, stable));
                }
                evidence.extend(seen);
            }
        }
        let over_step = rule.look(WindowName::Step, &canary, &stable, true);
        let step_verdict = Threshold::verdict(&over_step);
        evidence.extend(over_step.iter().cloned());
        let breaches: Vec<Breach> = evidence.iter().filter_map(breach).collect();
        let verdict = if breaches.is_empty() { step_verdict } else { Verdict::Failed };
        let (window, span, canary, stable) = deciding.unwrap_or((WindowName::Step, self.step.span, canary, stable));
        let message = match breaches.first() {
            // The sentence of the window that decided, then what else the step shows.
            Some(first) => first.sentence.clone(),
            None => over_step.iter().map(|e| e.sentence.as_str()).collect::<Vec<_>>().join("; "),
        };
        Judgement {
            at: self.step.span.to,
            verdict,
            message,
            breaches,
            evidence,
            window,
            span,
            canary,
            stable,
            sigma,
            budget: self.budget.report(rule.slo),
        }
    }
}

fn breach(evidence: &Evidence) -> Option<Breach> {
    let (Vote::Reject, Some(value), Some(limit)) = (evidence.vote, evidence.value, evidence.limit) else { return None };
    Some(Breach { metric: evidence.metric, window: evidence.window, value, limit, sentence: evidence.sentence.clone() })
}

fn sigma(canary: &WindowStats, stable: &WindowStats) -> Option<Sigma> {
    let (canary_mean_ms, stable_mean_ms, stable_sigma_ms) =
        (sane(canary.mean_ms)?, sane(stable.mean_ms)?, sane(stable.sigma_ms)?);
    let within = (canary_mean_ms - stable_mean_ms).abs() <= stable_sigma_ms;
    Some(Sigma { stable_mean_ms, stable_sigma_ms, canary_mean_ms, within })
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
