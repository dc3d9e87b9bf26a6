//! One line of a list of releases, folded.

use model::{
    Actor, CommandKind, Kind, Timestamp, Verdict, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryStarted, CanaryStepped,
        CommandSeen, Outcome, ReleaseCompleted,
    },
};
use receipts::Payload;

use crate::{JoulesSum, Pause, Phase, Receipt, ReleaseRow, say};

impl ReleaseRow {
    /// The row of a release from its receipts in order; `None` until its canary has started.
    ///
    /// A store that has the row already folds the next receipt into it instead: the outcome is the same.
    pub fn of(receipts: &[Receipt]) -> Option<Self> {
        let mut before = JoulesSum::default();
        let mut asked = None;
        let mut row: Option<Self> = None;
        for r in receipts {
            match &mut row {
                Some(row) => row.fold(r),
                None => {
                    before.add(&r.payload);
                    if r.payload.kind == Kind::CommandAccepted {
                        asked = Some(r.payload.actor.clone());
                    }
                    row = Self::start(&r.payload, before, asked.take_if(|_| r.payload.kind == Kind::CanaryStarted));
                }
            }
        }
        row
    }

    /// `asked` is who gave the command to start, which the controller carried out.
    fn start(p: &Payload, joules: JoulesSum, asked: Option<Actor>) -> Option<Self> {
        if p.kind != Kind::CanaryStarted {
            return None;
        }
        let f: CanaryStarted = p.facts().ok()?;
        // Without them the timetable tells, up to a pause without an end.
        let mut stops = f.stops;
        if stops.is_empty() {
            stops = f.planned.iter().map(|w| w.weight).filter(|w| *w > Weight::ZERO).collect();
            stops.dedup();
        }
        Some(Self {
            id: p.release.clone()?,
            service: f.service,
            environment: f.environment,
            version: f.version,
            digest: f.digest,
            actor: asked.unwrap_or_else(|| p.actor.clone()),
            started: p.time,
            ended: None,
            phase: Phase::Progressing,
            pause: None,
            held: None,
            held_by: None,
            promoted: false,
            skipping: false,
            weight: Weight::ZERO,
            step: (0, f.steps),
            stops,
            next_at: None,
            worst: None,
            worst_verdict: None,
            stopped_by: None,
            stopped_for: None,
            joules,
            exposed: 0,
        })
    }

    /// Takes in the next receipt of this release.
    pub fn fold(&mut self, receipt: &Receipt) {
        let p = &receipt.payload;
        if p.release.as_ref() != Some(&self.id) {
            return;
        }
        self.joules.add(p);
        // What the canary has served so far stands in whichever receipt counted it last.
        if let Some(n) = p.facts.get("exposed").and_then(serde_json::Value::as_u64) {
            self.exposed = n;
        }
        match p.kind {
            // A stop is accepted before it is carried out, and always carried out: from here on it is under way.
            Kind::CommandAccepted if p.facts::<CommandSeen>().is_ok_and(|f| stops(&f.command)) => {
                (self.held, self.pause) = (None, None);
                (self.ended, self.next_at) = (None, None);
                self.phase = Phase::Aborting;
            }
            Kind::CanaryStarted => self.restarted(p),
            Kind::CanaryStepped => self.stepped(p),
            Kind::CanaryPaused => {
                let Ok(f) = p.facts::<CanaryPaused>() else { return };
                self.weight = f.weight;
                self.step.0 = f.step;
                if f.reason == PERSON || turn(p) == Some("held") {
                    self.held = Some(f.reason);
                    self.held_by = Some(p.actor.clone());
                } else {
                    self.pause = Some(Pause { reason: f.reason, until: f.until });
                }
                self.goes_on();
            }
            Kind::CanaryResumed => {
                match turn(p) {
                    // A person's hold ended: the engine's own pause may still be there.
                    Some("released") => self.held = None,
                    Some("pause-ended") => self.pause = None,
                    _ => (self.held, self.pause) = (None, None),
                }
                match turn(p) {
                    Some("promoted-full") => self.skipping = true,
                    Some("retried") => {
                        (self.skipping, self.promoted) = (false, false);
                        (self.stopped_by, self.stopped_for) = (None, None);
                    }
                    _ => {}
                }
                // An aborted release that begins again is under way again; nothing else undoes an end.
                if self.in_flight() || turn(p) == Some("retried") {
                    self.ended = None;
                    self.goes_on();
                }
            }
            Kind::CanaryPromoted if p.facts::<CanaryPromoted>().is_ok() => {
                self.promoted = !is_back(p);
                if self.promoted {
                    self.weight = Weight::FULL;
                    (self.held, self.pause) = (None, None);
                    self.goes_on();
                }
            }
            Kind::CanaryAborted => {
                self.weight = Weight::ZERO;
                (self.held, self.pause) = (None, None);
                self.next_at = None;
                self.ended = None;
                self.phase = Phase::Aborting;
                if let Ok(f) = p.facts::<CanaryAborted>() {
                    // A person's abort is no finding about the canary.
                    if f.automatic {
                        self.found(Verdict::Failed, f.reason);
                    } else {
                        (self.stopped_by, self.stopped_for) = (Some(p.actor.clone()), crate::reason(p));
                    }
                }
            }
            Kind::CanaryCompleted => {
                if let Ok(f) = p.facts::<CanaryCompleted>() {
                    self.ended(f.outcome, p.time);
                }
            }
            Kind::ReleaseCompleted => {
                if let Ok(f) = p.facts::<ReleaseCompleted>() {
                    self.ended(f.outcome, self.ended.unwrap_or(p.time));
                }
            }
            Kind::AnalysisFailed | Kind::AnalysisInconclusive | Kind::AnalysisError => {
                if let Ok(f) = p.facts::<AnalysisEnded>() {
                    self.found(f.verdict, f.message);
                }
            }
            _ => {}
        }
    }

    /// True while it is under way.
    pub fn in_flight(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// True when nothing goes on until a person decides.
    pub fn waits(&self) -> bool {
        matches!(self.phase, Phase::Paused { until: None, .. })
    }

    /// The stage: which of the planned weights is in force (from 1; 0 before the first), and how many there are.
    pub fn stage(&self) -> (usize, usize) {
        (self.stops.iter().filter(|w| **w <= self.weight).count(), self.stops.len())
    }

    fn restarted(&mut self, p: &Payload) {
        (self.held, self.pause) = (None, None);
        (self.skipping, self.promoted) = (false, false);
        (self.stopped_by, self.stopped_for) = (None, None);
        self.goes_on();
        self.ended = None;
        self.weight = Weight::ZERO;
        self.step.0 = 0;
        if let Ok(f) = p.facts::<CanaryStarted>() {
            self.step.1 = f.steps;
        }
    }

    fn stepped(&mut self, p: &Payload) {
        let Ok(f) = p.facts::<CanaryStepped>() else { return };
        self.weight = f.weight;
        self.step = (f.step, f.steps);
        // Weight 0 being put in force is part of an abort; a weight above it is the release going on (again).
        if f.weight > Weight::ZERO || !matches!(self.phase, Phase::Aborting | Phase::Ended(_)) {
            self.ended = None;
            self.goes_on();
        }
    }

    /// Under way: held by a person, else by the engine's pause, else by nothing.
    fn goes_on(&mut self) {
        self.phase = match (&self.held, &self.pause) {
            (Some(reason), _) => Phase::Paused { reason: reason.clone(), until: None },
            (None, Some(p)) => Phase::Paused { reason: p.reason.clone(), until: p.until },
            (None, None) => Phase::Progressing,
        };
        self.next_at = match self.phase {
            Phase::Paused { until, .. } => until,
            _ => None,
        };
    }

    fn ended(&mut self, outcome: Outcome, at: Timestamp) {
        self.ended = Some(at);
        self.next_at = None;
        (self.held, self.pause) = (None, None);
        self.weight = if outcome == Outcome::Promoted { Weight::FULL } else { Weight::ZERO };
        self.phase = Phase::Ended(outcome);
    }

    fn found(&mut self, verdict: Verdict, message: String) {
        if rank(Some(verdict)) >= rank(self.worst_verdict) {
            self.worst_verdict = Some(verdict);
            self.worst = Some(say::finding(&message));
        }
    }
}

impl JoulesSum {
    /// Adds one receipt's energy. The sum over a release is not one of its parts.
    pub fn add(&mut self, p: &Payload) {
        if p.kind == Kind::ReleaseCompleted {
            return;
        }
        let Some(e) = &p.energy else { return };
        self.joules += e.joules;
        self.low += e.low;
        self.high += e.high;
        self.modelled |= e.method != model::EnergyMethod::RaplPackage;
        self.n += 1;
    }
}

/// The reason of a pause that a person asked for without giving one.
pub(crate) const PERSON: &str = "person";

/// True for the commands that take the canary off the traffic.
fn stops(command: &str) -> bool {
    matches!(command.parse(), Ok(CommandKind::Abort | CommandKind::Rollback))
}

/// The engine's own word for what happened, which it puts beside the facts.
pub(crate) fn turn(p: &Payload) -> Option<&str> {
    p.facts.get("transition")?.get("type")?.as_str()
}

/// True when the slots were swapped back: a rollback, not a promotion.
pub(crate) fn is_back(p: &Payload) -> bool {
    p.facts.get("back").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// How bad: a failure is worse than not knowing, not knowing worse than not deciding.
fn rank(v: Option<Verdict>) -> u8 {
    match v {
        None | Some(Verdict::Successful) => 0,
        Some(Verdict::Inconclusive) => 1,
        Some(Verdict::Error) => 2,
        Some(Verdict::Failed) => 3,
    }
}
