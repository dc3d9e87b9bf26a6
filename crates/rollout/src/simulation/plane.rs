//! A data plane that keeps its promises (idempotent by operation id, slots never swapped twice for one operation) and otherwise
//! restarts, is unreachable, loses answers, and shows old or wrong things.

use std::collections::BTreeMap;

use model::{Digest, Epoch, Timestamp, Version, Weight};

use super::Random;
use crate::{Observed, ObservedVersion, VersionRef, WeightCause};

#[derive(Clone)]
pub(super) struct Process {
    version: VersionRef,
    ready: bool,
}

/// What is really there.
pub(super) struct Plane {
    pub(super) reachable: bool,
    pub(super) weight: Weight,
    pub(super) stable: VersionRef,
    pub(super) canary: Option<Process>,
    pub(super) dead_man_at: Option<Timestamp>,
    /// Answers by operation, forgotten in a restart.
    answers: BTreeMap<String, (Timestamp, Weight)>,
    /// Migrations and flags by operation: kept for ever, with how often they were carried out.
    pub(super) acts: BTreeMap<String, u32>,
    /// What was told and was new, since the last restart: (attempt, change, cause, weight).
    pub(super) told: Vec<(u32, u32, WeightCause, Weight)>,
    pub(super) swaps: u32,
    /// Earlier observations, to be shown again.
    past: Vec<Observed>,
}

impl Plane {
    pub(super) fn new(stable: VersionRef) -> Self {
        Self {
            reachable: true,
            weight: Weight::ZERO,
            stable,
            canary: None,
            dead_man_at: None,
            answers: BTreeMap::new(),
            acts: BTreeMap::new(),
            told: Vec::new(),
            swaps: 0,
            past: Vec::new(),
        }
    }

    /// Share of this version.
    pub(super) fn exposure(&self, digest: &Digest) -> u8 {
        let canary = self.canary.as_ref().filter(|p| p.version.digest == *digest).map_or(0, |_| self.weight.percent());
        let stable = if self.stable.digest == *digest { 100 - self.weight.percent() } else { 0 };
        canary + stable
    }

    pub(super) fn start(&mut self, version: &VersionRef) {
        if self.canary.is_none() {
            self.canary = Some(Process { version: version.clone(), ready: false });
            self.weight = Weight::ZERO;
        }
    }

    pub(super) fn settle(&mut self, ready: bool) {
        if let Some(process) = &mut self.canary {
            process.ready = ready;
        }
    }

    pub(super) fn crash_canary(&mut self) {
        self.canary = None;
        self.weight = Weight::ZERO;
    }

    /// Answers with the time at which the weight came into force, and the weight before. `Err` = there is nothing in the slot.
    pub(super) fn set_weight(
        &mut self,
        operation: &str,
        weight: Weight,
        now: Timestamp,
    ) -> Result<(Timestamp, Weight, bool), ()> {
        if let Some((at, previous)) = self.answers.get(operation) {
            return Ok((*at, *previous, false));
        }
        if self.canary.is_none() && weight > Weight::ZERO {
            return Err(());
        }
        let previous = self.weight;
        self.weight = weight;
        self.answers.insert(operation.to_owned(), (now, previous));
        Ok((now, previous, true))
    }

    pub(super) fn promote(
        &mut self,
        operation: &str,
        becomes_stable: &VersionRef,
        now: Timestamp,
    ) -> Result<Timestamp, ()> {
        if let Some((at, _)) = self.answers.get(operation) {
            return Ok(*at);
        }
        let Some(process) = self.canary.take_if(|p| p.version == *becomes_stable && p.ready) else { return Err(()) };
        let old = std::mem::replace(&mut self.stable, process.version);
        self.canary = Some(Process { version: old, ready: true });
        self.weight = Weight::ZERO;
        self.swaps += 1;
        // The controller's side of the contract of `plan`: it looks again after a swap.
        self.past.clear();
        self.answers.insert(operation.to_owned(), (now, Weight::FULL));
        Ok(now)
    }

    pub(super) fn stop(&mut self, version: &VersionRef) {
        if self.canary.as_ref().is_some_and(|p| p.version == *version) {
            self.crash_canary();
        }
    }

    pub(super) fn act(&mut self, operation: &str) {
        // Migrations are keyed: the second call of the same operation is answered, not carried out.
        self.acts.entry(operation.to_owned()).or_insert(1);
    }

    /// Forgets operations and weights; workloads are found again.
    pub(super) fn restart(&mut self) {
        self.answers.clear();
        self.told.clear();
        self.weight = Weight::ZERO;
    }

    pub(super) fn forget_past(&mut self) {
        self.past.clear();
    }

    /// What it shows now: mostly the truth, sometimes an old truth, sometimes a lie about readiness or weight.
    pub(super) fn observe(&mut self, random: &mut Random, now: Timestamp, honest: bool) -> Observed {
        let shown = |p: &Process| ObservedVersion {
            version: p.version.version.clone(),
            digest: p.version.digest.clone(),
            ready: p.ready,
            in_flight: 0,
            ends: Vec::new(),
        };
        let truth = Observed {
            at: now,
            reachable: self.reachable,
            weight: self.weight,
            epoch: Epoch(1),
            stable: Some(shown(&Process { version: self.stable.clone(), ready: true })),
            canary: self.canary.as_ref().map(shown),
            dead_man_at: self.dead_man_at,
            builtin: None,
            measuring: Vec::new(),
        };
        if honest {
            return truth;
        }
        self.past.push(truth.clone());
        if self.past.len() > 6 {
            self.past.remove(0);
        }
        let mut seen = if random.once_in(6) { random.pick(&self.past).clone() } else { truth };
        seen.reachable = self.reachable;
        if random.once_in(40) {
            seen.weight = Weight::new(u8::try_from(random.below(101)).unwrap_or(0)).unwrap_or_default();
        }
        if random.once_in(40)
            && let Some(canary) = &mut seen.canary
        {
            canary.ready = !canary.ready;
        }
        seen
    }
}

/// A version by its number.
pub(super) fn version(n: u8) -> VersionRef {
    let version: Version = format!("v{n}").parse().expect("a version");
    VersionRef { version, digest: Digest::from_sha256(&[n; 32]) }
}
