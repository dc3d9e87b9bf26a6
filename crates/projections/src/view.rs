//! A release's page, folded.

use model::{
    Actor, Kind, Timestamp, Weight,
    event::{CanaryAborted, CanaryCompleted, CanaryStarted, CanaryStepped, RollbackArmed},
};

use crate::{
    Receipt, ReleaseRow, ReleaseView, commands,
    row::{is_back, turn},
};

impl ReleaseView {
    /// The view of a release from its receipts in order; `None` until its canary has started.
    ///
    /// `as_of` is the last receipt's index; who has read the log further sets it higher.
    pub fn of(receipts: Vec<Receipt>) -> Option<Self> {
        let at = receipts
            .iter()
            .position(|r| r.payload.kind == Kind::CanaryStarted && r.payload.facts::<CanaryStarted>().is_ok())?;
        let mut rest = receipts;
        let tail = rest.split_off(at + 1);
        let mut view = Self::start(rest)?;
        for r in tail {
            view.fold(&r);
        }
        Some(view)
    }

    /// The view as it is when its canary has just started: `receipts` ends with `delivery.canary.started`.
    fn start(receipts: Vec<Receipt>) -> Option<Self> {
        let row = ReleaseRow::of(&receipts)?;
        let last = receipts.last()?;
        let f: CanaryStarted = last.payload.facts().ok()?;
        Some(Self {
            stable_version: f.stable_version,
            stable_digest: f.stable_digest,
            recipe: f.recipe,
            planned: f.planned,
            planned_ms: f.planned_ms,
            weights: vec![(row.started, Weight::ZERO)],
            envelope: None,
            completed: None,
            commands: commands(&row, &receipts),
            as_of: last.index,
            row,
            receipts,
        })
    }

    /// Takes in the next receipt of the log. One of another release only moves `as_of`; one folded before changes nothing.
    pub fn fold(&mut self, receipt: &Receipt) {
        if receipt.index <= self.as_of {
            return;
        }
        self.as_of = receipt.index;
        let p = &receipt.payload;
        if p.release.as_ref() != Some(&self.row.id) {
            return;
        }
        self.row.fold(receipt);
        match p.kind {
            Kind::CanaryStepped => {
                if let Ok(f) = p.facts::<CanaryStepped>() {
                    self.weight_from(f.applied_at, f.weight);
                }
            }
            Kind::CanaryPromoted if !is_back(p) => self.weight_from(p.time, Weight::FULL),
            Kind::CanaryAborted => self.weight_from(p.time, Weight::ZERO),
            Kind::CanaryStarted => self.completed = None,
            Kind::CanaryCompleted => {
                if let Ok(f) = p.facts::<CanaryCompleted>() {
                    self.weight_from(p.time, self.row.weight);
                    self.completed = Some(f);
                }
            }
            Kind::RollbackArmed => {
                if let Ok(f) = p.facts::<RollbackArmed>() {
                    self.envelope = Some((receipt.index, f));
                }
            }
            _ => {}
        }
        self.receipts.push(receipt.clone());
        self.commands = commands(&self.row, &self.receipts);
    }

    /// The view as it was at `at`: folded again from the receipts up to then, its start included.
    pub fn rewound(&self, at: Timestamp) -> Self {
        let started = self.receipts.iter().position(|r| r.payload.kind == Kind::CanaryStarted).unwrap_or(0);
        let then = self.receipts.iter().enumerate().filter(|(i, r)| *i <= started || r.payload.time <= at);
        Self::of(then.map(|(_, r)| r.clone()).collect()).unwrap_or_else(|| self.clone())
    }

    /// Why and when it was aborted, with the index of the receipt, if it was.
    pub fn aborted(&self) -> Option<(u64, CanaryAborted)> {
        let r = self.receipts.iter().rev().find(|r| r.payload.kind == Kind::CanaryAborted)?;
        Some((r.index, r.payload.facts().ok()?))
    }

    /// Who skipped the steps that were left, if a person did.
    pub fn skipped_by(&self) -> Option<&Actor> {
        let turns = self.receipts.iter().rev().map(|r| &r.payload);
        turns.filter(|_| self.row.skipping).find(|p| turn(p) == Some("promoted-full")).map(|p| &p.actor)
    }

    fn weight_from(&mut self, at: Timestamp, weight: Weight) {
        if self.weights.last().is_none_or(|(_, w)| *w != weight) {
            self.weights.push((at, weight));
        }
    }
}
