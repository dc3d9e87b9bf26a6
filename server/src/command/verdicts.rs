//! Verdicts of the sequential judge, recomputed from their tables of ticks.

use judge::sequential::{audit, tables};
use model::{Digest, Kind};
use projections::{ReadModel, ReceiptFilter};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store_sqlite::SqliteStore;

/// Receipts asked for at once.
const PAGE: u32 = 200;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Recomputed {
    /// Verdicts that follow from their ticks.
    pub(super) verdicts: u64,
    /// The first that does not: its receipt, and why.
    pub(super) first_bad: Option<(u64, String)>,
}

/// Recomputes every verdict, oldest first among those that do not follow.
pub(super) async fn recompute(store: &SqliteStore) -> anyhow::Result<Recomputed> {
    let mut out = Recomputed::default();
    for kind in [Kind::AnalysisPassed, Kind::AnalysisFailed, Kind::AnalysisInconclusive] {
        let mut before = None;
        loop {
            let filter = ReceiptFilter { kind: Some(kind), before, limit: PAGE, ..ReceiptFilter::default() };
            let page = store.receipts(filter).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.index);
            for receipt in &page {
                let Some(named) = tables(&receipt.payload.facts) else { continue };
                match one(store, &receipt.payload.facts, &named).await? {
                    None => out.verdicts += 1,
                    Some(why) if out.first_bad.as_ref().is_none_or(|(index, _)| receipt.index < *index) => {
                        out.first_bad = Some((receipt.index, why));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    Ok(out)
}

/// Why a verdict does not follow from its ticks.
async fn one(
    store: &SqliteStore,
    facts: &serde_json::Map<String, serde_json::Value>,
    named: &[String],
) -> anyhow::Result<Option<String>> {
    let mut pieces = Vec::new();
    for digest in named {
        let Ok(parsed) = digest.parse::<Digest>() else { return Ok(Some(format!("{digest} is not a digest"))) };
        let Some(bytes) = store.segment(&parsed).await? else {
            return Ok(Some(format!("its ticks {digest} are not kept")));
        };
        if Digest::from_sha256(&Sha256::digest(&bytes).into()) != parsed {
            return Ok(Some(format!("its ticks do not have the digest {digest}")));
        }
        pieces.push(bytes);
    }
    Ok(audit(facts, pieces.iter().map(Vec::as_slice)).err().map(|error| error.to_string()))
}
