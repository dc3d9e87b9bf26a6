//! The overview, assembled and folded.

use crate::{Overview, RECENT, Receipt, ReleaseRow};

impl Overview {
    /// From rows in any order: those under way, and the newest of those that ended.
    pub fn assemble(rows: impl IntoIterator<Item = ReleaseRow>, as_of: Option<u64>) -> Self {
        let (mut in_flight, mut recent): (Vec<_>, Vec<_>) = rows.into_iter().partition(ReleaseRow::in_flight);
        in_flight.sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id)));
        recent.sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id)));
        recent.truncate(RECENT);
        let waiting = in_flight.iter().filter(|r| r.waits()).cloned().collect();
        Self { waiting, in_flight, recent, as_of }
    }

    /// Takes in the next receipt of the log. True when it belongs to a release that is not shown:
    /// the overview has to be read again to show it.
    pub fn fold(&mut self, receipt: &Receipt) -> bool {
        if self.as_of.is_some_and(|i| receipt.index <= i) {
            return false;
        }
        let Some(id) = receipt.payload.release.as_ref() else {
            self.as_of = Some(receipt.index);
            return false;
        };
        let mut rows: Vec<ReleaseRow> = self.in_flight.drain(..).chain(self.recent.drain(..)).collect();
        let known = rows.iter_mut().find(|r| r.id == *id).map(|r| r.fold(receipt)).is_some();
        *self = Self::assemble(rows, Some(receipt.index));
        !known
    }
}
