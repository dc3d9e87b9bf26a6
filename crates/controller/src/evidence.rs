//! What a verdict was computed from, on its way into a receipt and its segment.

use std::collections::VecDeque;

use judge::{
    Judge, Judgement, Rule,
    sequential::{Beginning, Feed, Mode, PerMeasure},
};
use model::{Digest, Energy, Judged, Tick, Timestamp, event::WindowStats};
use serde_json::{Map, Value};

use crate::{Measurement, counting::Counting};

/// Most bytes of ticks kept for one step's segment: half of what a segment may hold. The oldest give way.
const MAX_STEP_BYTES: usize = receipt_log::MAX_SEGMENT / 2;

/// Evidence of one verdict.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) rule: String,
    pub(crate) measurements: u64,
    pub(crate) segment: Option<Digest>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) canary: Option<WindowStats>,
    pub(crate) stable: Option<WindowStats>,
    pub(crate) cite: Vec<String>,
    /// Facts beyond those that every analysis has: the policy in force, the window, what was reported beside the verdict.
    pub(crate) further: Map<String, Value>,
}

/// The built-in judge at work on one weight.
#[derive(Debug)]
pub(crate) struct Judging {
    judge: Judge,
    /// The attempt judged: one that is tried again is judged anew.
    attempt: u32,
    /// The weight judged: when it came into force.
    since: Timestamp,
    judgement: Option<Judgement>,
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
    /// End of the first tick in which the canary failed a request.
    first_harm: Option<Timestamp>,
    energy: Option<Energy>,
}

/// The rule that a recipe asks for, with its policy; or why there is none.
pub(crate) fn rule_of(builtin: &rollout::recipe::Builtin) -> Result<Rule, String> {
    let rule = Rule::named(&builtin.rule)
        .ok_or_else(|| format!("there is no rule {:?}: there is {}", builtin.rule, Rule::NAMES.join(", ")))?;
    let Rule::Sequential(mut policy) = rule else { return Ok(rule) };
    policy.mode = match builtin.mode.as_deref() {
        None => None,
        Some("requests") => Some(Mode::Requests),
        Some("blocks") => Some(Mode::Blocks),
        Some(other) => return Err(format!("the mode {other:?} is neither requests nor blocks")),
    };
    if let Some(alpha) = builtin.alpha {
        policy.alpha = alpha;
    }
    policy.end_certified_steps = builtin.end_certified_steps;
    if let Some(ms) = builtin.warm_up_ms {
        policy.warm_up_s = u32::try_from(ms.max(0).saturating_add(999) / 1_000).unwrap_or(u32::MAX);
    }
    policy.check().map_err(|error| error.to_string())?;
    Ok(Rule::Sequential(policy))
}

/// Segments that a verdict of the sequential judge names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    /// The step's seconds as the data plane counted them.
    pub(crate) ticks: Option<Digest>,
    /// The table of ticks, in pieces.
    pub(crate) tables: Vec<Digest>,
    /// The histogram that the limits in force came from, where it is the release's own.
    pub(crate) histogram: Option<Digest>,
}

impl Judging {
    pub(crate) fn new(judge: Judge, attempt: u32, since: Timestamp) -> Self {
        Self {
            judge,
            attempt,
            since,
            judgement: None,
            lines: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            first_harm: None,
            energy: None,
        }
    }

    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn rule(&self) -> &Rule {
        self.judge.rule()
    }

    /// The sequential judge's feed, where that is the rule.
    pub(crate) fn feed(&self) -> Option<&Feed> {
        self.judge.feed()
    }

    /// True when the canary is certified for the weight that is judged.
    pub(crate) fn is_certified(&self) -> bool {
        self.feed().is_some_and(|feed| feed.judge().verdict() == judge::sequential::Verdict::Certified)
    }

    /// True when another source's counters are judged, and not the data plane's seconds.
    pub(crate) fn is_fed_by_counters(&self) -> bool {
        self.feed().is_some_and(|feed| feed.beginning().every_s.is_some())
    }

    /// What the judge said last.
    pub(crate) fn judged(&self) -> Option<Judged> {
        self.judge.judged().cloned()
    }

    /// A second from before a crash: it counts as evidence as it did then.
    pub(crate) fn again(&mut self, tick: &Tick) {
        if self.is_fed_by_counters() {
            tick.counted.iter().for_each(|second| self.again_one(second));
        } else {
            self.again_one(tick);
        }
    }

    fn again_one(&mut self, tick: &Tick) {
        if tick.at > self.since {
            self.push(tick);
        } else {
            self.judge.take(tick);
        }
    }

    /// Another weight came into force at `since`: what was seen before no longer counts.
    pub(crate) fn begin(&mut self, since: Timestamp) {
        self.judge.begin_step();
        self.since = since;
        self.judgement = None;
        self.lines.clear();
        (self.bytes, self.dropped, self.first_harm, self.energy) = (0, 0, None, None);
    }

    /// Takes a tick. Only one that ended after the weight came into force is about that weight; the sequential judge's evidence is about all.
    pub(crate) fn push(&mut self, tick: &Tick) -> Option<Judged> {
        if tick.at <= self.since {
            if self.judge.feed().is_some() {
                self.judge.take(tick);
                self.judge.begin_step();
            }
            return None;
        }
        if self.first_harm.is_none() && tick.canary.as_ref().is_some_and(|c| c.errors > 0) {
            self.first_harm = Some(tick.at);
        }
        self.judgement = Some(self.judge.push(tick));
        if let Ok(mut line) = serde_json::to_string(tick) {
            line.push('\n');
            self.bytes += line.len();
            self.lines.push_back(line);
            while self.bytes > MAX_STEP_BYTES
                && let Some(old) = self.lines.pop_front()
            {
                self.bytes -= old.len();
                self.dropped += 1;
            }
        }
        self.judge.judged().cloned()
    }

    /// Adds what judging took.
    pub(crate) fn took(&mut self, energy: Energy) {
        self.energy = energy::sum(self.energy.iter().chain([&energy]));
    }

    /// What judging took since the weight came into force; counts once.
    pub(crate) fn take_energy(&mut self) -> Option<Energy> {
        self.energy.take()
    }

    pub(crate) fn judgement(&self) -> Option<&Judgement> {
        self.judgement.as_ref()
    }

    /// The ticks of the step, one JSON document a line.
    pub(crate) fn segment(&self) -> Option<Vec<u8>> {
        if self.lines.is_empty() {
            return None;
        }
        Some(self.lines.iter().flat_map(|l| l.bytes()).collect())
    }

    /// What the last judgement was computed from.
    pub(crate) fn evidence(&self, segments: Segments, counting: Option<&Counting>) -> Option<Evidence> {
        let j = self.judgement.as_ref()?;
        let mut further = Map::new();
        let mut put = |name: &str, value: Result<Value, serde_json::Error>| {
            if let Ok(value) = value {
                further.insert(name.to_owned(), value);
            }
        };
        put("policy", serde_json::to_value(self.judge.rule()));
        put("window", serde_json::to_value(j.window));
        put("breaches", serde_json::to_value(&j.breaches));
        put("within_sigma", serde_json::to_value(j.sigma.map(|s| s.within)));
        put("budget", serde_json::to_value(&j.budget));
        put("first_harm_at", serde_json::to_value(self.first_harm));
        put("ticks_lost", Ok(j.span.lost.into()));
        put("ticks_not_in_segment", Ok(self.dropped.into()));
        if let Some(feed) = self.judge.feed() {
            let judge = feed.judge();
            let judged = feed.judged();
            put("said", serde_json::to_value(judge.verdict()));
            put("mode", serde_json::to_value(judge.mode()));
            put("limits", serde_json::to_value(feed.limits()));
            put("histogram", serde_json::to_value(&segments.histogram));
            put("tables", serde_json::to_value(&segments.tables));
            put("totals", serde_json::to_value(judge.totals()));
            put("ln_e", serde_json::to_value(judge.ln_e()));
            put("highest_ln_e", serde_json::to_value(judge.highest()));
            put("crossed_at", serde_json::to_value(judge.crossed_at()));
            put("hard_stop_at", serde_json::to_value(judge.hard_stop_at()));
            put("stopped_by", serde_json::to_value(judge.stopped().map(|(by, _)| by)));
            if let Some(counting) = counting.filter(|_| self.is_fed_by_counters()) {
                put("counters", Ok(counting.facts(feed.limits(), judge.policy())));
            }
            put("split_ln_e", serde_json::to_value(judge.split_ln_e()));
            put("certificate", serde_json::to_value::<Option<PerMeasure>>(judge.certificate()));
            put("p99_ratio", serde_json::to_value(judged.ratio));
            put("error_difference", serde_json::to_value(judged.difference));
            if let Some(Ok(Value::Object(cause))) = judge.cause().map(serde_json::to_value) {
                cause.into_iter().for_each(|(name, value)| put(&name, Ok(value)));
            }
        }
        let peer = counting.filter(|_| self.is_fed_by_counters()).map(|c| c.address().to_owned());
        Some(Evidence {
            rule: self.judge.rule().name().to_owned(),
            measurements: j.span.ticks,
            segment: segments.ticks,
            from: j.span.from,
            to: j.span.to,
            canary: Some(j.canary.clone()),
            stable: Some(j.stable.clone()),
            cite: std::iter::once(format!("DeliveryOS judge {}", self.judge.rule().name())).chain(peer).collect(),
            further,
        })
    }
}

/// What a release's evidence begins with, as the receipt of the analysis' start has it.
pub(crate) fn beginning_facts(rule: &Rule, beginning: &Beginning, histogram: Option<Digest>) -> Map<String, Value> {
    let mut facts = Map::new();
    let values = [
        ("policy", serde_json::to_value(rule)),
        ("beginning", serde_json::to_value(beginning)),
        ("histogram", serde_json::to_value(histogram)),
    ];
    for (name, value) in values {
        if let Ok(value) = value {
            facts.insert(name.to_owned(), value);
        }
    }
    facts
}

/// Measurements of a run, one JSON document a line; `None` when there are none or they do not fit.
pub(crate) fn measurements_segment(measurements: &[Measurement]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for m in measurements {
        serde_json::to_writer(&mut bytes, m).ok()?;
        bytes.push(b'\n');
    }
    (!bytes.is_empty() && bytes.len() <= receipt_log::MAX_SEGMENT).then_some(bytes)
}
