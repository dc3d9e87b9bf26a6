//! One release, one receipt: the sum over a release's receipts.

use model::{
    Energy, EnergyMethod,
    event::{Outcome, ReleaseCompleted},
};
use receipt_log::LoggedReceipt;

/// The facts of `delivery.release.completed` and the sum of the energies of these receipts, which are the release's in order.
///
/// The root is RFC 6962's over the leaf hashes of the entries as they stand in the log, so that it can be recomputed from the log
/// alone. Sums of an earlier completion (a release that was tried again) are left out: their parts are counted themselves.
pub(crate) fn completed(outcome: Outcome, receipts: &[LoggedReceipt]) -> (ReleaseCompleted, Option<Energy>) {
    let leaves: Vec<_> = receipts.iter().map(|r| tlog::leaf_hash(&r.entry)).collect();
    let root = hex::encode(tlog::root_of_leaves(&leaves).as_bytes());
    let energies = receipts
        .iter()
        .filter(|r| r.payload.kind != model::Kind::ReleaseCompleted)
        .filter_map(|r| r.payload.energy.as_ref());
    let facts = ReleaseCompleted {
        outcome,
        children: receipts.len() as u64,
        ranges: ranges(receipts.iter().map(|r| r.index)),
        root,
    };
    (facts, sum(energies))
}

/// Ascending indices as inclusive ranges.
fn ranges(indices: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some((_, end)) if index == *end + 1 => *end = index,
            _ => ranges.push((index, index)),
        }
    }
    ranges
}

/// Bounds are added too: the methods share their systematic error, so independence must not be assumed.
fn sum<'a>(energies: impl Iterator<Item = &'a Energy>) -> Option<Energy> {
    energies.cloned().reduce(|a, b| Energy {
        joules: a.joules + b.joules,
        low: a.low + b.low,
        high: a.high + b.high,
        method: if a.method == b.method { a.method } else { EnergyMethod::Mixed },
        scope: if a.scope == b.scope { a.scope } else { "several".to_owned() },
        coefficient: if a.coefficient == b.coefficient { a.coefficient } else { None },
        cpu_time_us: a.cpu_time_us.saturating_add(b.cpu_time_us),
        wall_us: a.wall_us.saturating_add(b.wall_us),
        idle_joules: match (a.idle_joules, b.idle_joules) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        },
    })
}

#[cfg(test)]
mod tests {
    use model::{Actor, Kind, Timestamp};
    use receipts::Payload;
    use serde_json::json;

    use super::*;

    fn receipt(index: u64, kind: Kind, joules: Option<(f64, EnergyMethod)>) -> LoggedReceipt {
        let mut payload =
            Payload::new(kind, Timestamp::from_millis(1), Actor::controller(), &json!({"i": index})).unwrap();
        if let Some((joules, method)) = joules {
            payload = payload.energy(Energy {
                joules,
                low: joules / 2.0,
                high: joules * 2.0,
                method,
                scope: "cpu".to_owned(),
                coefficient: Some("c1".to_owned()),
                cpu_time_us: 10,
                wall_us: 20,
                idle_joules: None,
            });
        }
        LoggedReceipt { index, payload, entry: vec![index as u8].into() }
    }

    #[test]
    fn sums_and_ranges() {
        use EnergyMethod::{ModelCpuTime, RaplPackage};
        let receipts = [
            receipt(3, Kind::CommandAccepted, None),
            receipt(4, Kind::CanaryStarted, Some((1.0, ModelCpuTime))),
            receipt(7, Kind::CanaryStepped, Some((2.0, RaplPackage))),
            receipt(8, Kind::ReleaseCompleted, Some((3.0, ModelCpuTime))),
        ];
        let (facts, energy) = completed(Outcome::Promoted, &receipts);
        assert_eq!((facts.children, facts.ranges), (4, vec![(3, 4), (7, 8)]));
        let energy = energy.unwrap();
        assert_eq!((energy.joules, energy.low, energy.high, energy.method), (3.0, 1.5, 6.0, EnergyMethod::Mixed));
        assert_eq!((energy.cpu_time_us, energy.wall_us), (20, 40));
        let (same, _) = completed(Outcome::Promoted, &receipts[1..2]);
        assert_eq!(same.root, hex::encode(tlog::leaf_hash(&[4]).as_bytes()), "one leaf is its own root");
        assert_eq!(completed(Outcome::Aborted, &[]).1, None);
    }
}
