//! One search over everything that has an address.

use leptos::{prelude::*, server_fn::codec::Post};
use model::Kind;
use projections::ReleaseRow;
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::page::written;
use super::{ApiError, encoding::Written};

/// Releases that a search shows; the list shows the others.
pub const MAX_RELEASES: u32 = 8;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The receipt with this index.
    pub receipt: Option<FoundReceipt>,
    /// Somebody of this name, of whom there are receipts.
    pub actor: Option<String>,
    /// Releases whose words or digest begin so, newest first.
    pub releases: Vec<ReleaseRow>,
    /// How many there are.
    pub of: u64,
}

/// A receipt as a search names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundReceipt {
    /// Its place in the log.
    pub index: u64,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub said: String,
}

/// Receipts by index, releases by words or digest: what was [`Found`].
#[server(prefix = "/api", endpoint = "get_found", output = Post<Written>)]
pub async fn get_found(q: String) -> Result<String, ApiError> {
    use super::{context::answered, reads::could_not};
    use projections::{ReceiptFilter, ReleaseFilter, describe};
    /// More than anybody types.
    const MAX_TEXT: usize = 500;
    answered(
        async {
            let read = super::context::reader()?;
            let text = q.trim();
            if text.is_empty() || text.chars().count() > MAX_TEXT {
                return written(Found { receipt: None, actor: None, releases: Vec::new(), of: 0 });
            }
            // `18,204` as pages write it, `receipt 18,204`, and `#18204`.
            let word = text.split_at_checked(8).filter(|(word, _)| word.eq_ignore_ascii_case("receipt "));
            let number = word.map_or(text, |(_, number)| number);
            let digits = number.trim_start().trim_start_matches('#').replace(',', "");
            let receipt = match digits.parse::<u64>().ok().filter(|index| *index < u64::MAX) {
                Some(index) => {
                    let filter =
                        ReceiptFilter { before: Some(index + 1), least: Some(index), limit: 1, ..Default::default() };
                    read.receipts(filter).await.map_err(could_not)?.pop()
                }
                None => None,
            };
            let actor = match text.parse::<model::Actor>() {
                Ok(actor) => {
                    let by = ReceiptFilter { actor: Some(actor), limit: 1, ..Default::default() };
                    read.receipts(by).await.map_err(could_not)?.pop().map(|r| r.payload.actor.to_string())
                }
                Err(_) => None,
            };
            let filter = ReleaseFilter { text: Some(text.to_owned()), limit: MAX_RELEASES, ..Default::default() };
            let list = read.release_list(filter).await.map_err(could_not)?;
            written(Found {
                receipt: receipt.map(|r| FoundReceipt {
                    index: r.index,
                    kind: r.payload.kind,
                    said: describe(&r).sentence(),
                }),
                actor,
                releases: list.rows,
                of: list.of,
            })
        }
        .await,
    )
}
