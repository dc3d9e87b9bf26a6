//! Promotions of images that wait for a second person.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// One that was asked for and is not made yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionAsked {
    /// The receipt of the request, by which somebody agrees.
    pub receipt: u64,
    /// The service.
    pub service: String,
    /// Into which environment.
    pub environment: String,
    /// Under which tag.
    pub tag: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

#[cfg(feature = "ssr")]
pub(super) use read::open;

#[cfg(feature = "ssr")]
mod read {
    use model::{Kind, evidence::PromotionDecided};
    use projections::{MAX_PAGE, ReadError, ReadModel, Receipt, ReceiptFilter};

    use super::{PromotionAsked, Timestamp};

    /// A request is good for so long, as the rule of two people has it.
    const GOOD_MS: i64 = 24 * 3_600 * 1_000;

    /// Those that are still open at `now`, newest first. Of the same image to the same place the last counts.
    pub(in super::super) async fn open(read: &dyn ReadModel, now: Timestamp) -> Result<Vec<PromotionAsked>, ReadError> {
        let from = Some(now.plus_millis(-GOOD_MS));
        let newest = |kind| ReceiptFilter { kind: Some(kind), from, limit: MAX_PAGE, ..ReceiptFilter::default() };
        let asked: Vec<PromotionAsked> =
            read.receipts(newest(Kind::CommandAccepted)).await?.iter().filter_map(|r| asked(r, now)).collect();
        if asked.is_empty() {
            return Ok(asked);
        }
        // Only what came after the first of them: by its place in the log, whatever a clock said since.
        let first = asked.iter().map(|one| one.receipt).min();
        let copied = ReceiptFilter { from: None, least: first, ..newest(Kind::PromotionCopied) };
        let copied = read.receipts(copied).await?;
        let copied: Vec<(u64, PromotionDecided)> =
            copied.iter().filter_map(|r| Some((r.index, r.payload.facts().ok()?))).collect();
        let mut open: Vec<PromotionAsked> = Vec::new();
        for one in asked {
            let same = |f: &PromotionDecided| {
                (f.service.as_str(), f.environment.as_str(), f.tag.as_str())
                    == (one.service.as_str(), one.environment.as_str(), one.tag.as_str())
            };
            let made = copied.iter().any(|(index, f)| *index > one.receipt && same(f));
            let again = open.iter().any(|known| {
                (&known.service, &known.environment, &known.tag) == (&one.service, &one.environment, &one.tag)
            });
            if !made && !again {
                open.push(one);
            }
        }
        Ok(open)
    }

    fn asked(r: &Receipt, now: Timestamp) -> Option<PromotionAsked> {
        let p = &r.payload;
        let text = |name: &str| p.facts.get(name)?.as_str().map(str::to_owned);
        let good = (0..=GOOD_MS).contains(&now.since(p.time));
        (good && text("command")? == "promote-image").then_some(())?;
        Some(PromotionAsked {
            receipt: r.index,
            service: text("service")?,
            environment: text("environment")?,
            tag: text("tag")?,
            by: p.actor.to_string(),
            at: p.time,
        })
    }
}
