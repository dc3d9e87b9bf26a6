//! What a verdict was computed from, on its way into a receipt and its segment.

use std::collections::VecDeque;

use judge::{Judge, Judgement, Rule};
use model::{Digest, Energy, Tick, Timestamp, event::WindowStats};
use serde_json::{Map, Value};

use crate::Measurement;

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

impl Judging {
    pub(crate) fn new(rule: Rule, since: Timestamp) -> Self {
        Self {
            judge: Judge::new(rule),
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

    /// Another weight came into force at `since`: what was seen before no longer counts.
    pub(crate) fn begin(&mut self, since: Timestamp) {
        self.judge.begin_step();
        self.since = since;
        self.judgement = None;
        self.lines.clear();
        (self.bytes, self.dropped, self.first_harm, self.energy) = (0, 0, None, None);
    }

    /// Takes a tick that ended after the weight came into force.
    pub(crate) fn push(&mut self, tick: &Tick) {
        if tick.at <= self.since {
            return;
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
    pub(crate) fn evidence(&self, segment: Option<Digest>) -> Option<Evidence> {
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
        Some(Evidence {
            rule: self.judge.rule().name().to_owned(),
            measurements: j.span.ticks,
            segment,
            from: j.span.from,
            to: j.span.to,
            canary: Some(j.canary.clone()),
            stable: Some(j.stable.clone()),
            cite: vec![format!("DeliveryOS judge {}", self.judge.rule().name())],
            further,
        })
    }
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
