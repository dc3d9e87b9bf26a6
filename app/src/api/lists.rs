//! Lists: releases and receipts by filters. What the address of a page says is what is asked here.

use leptos::{prelude::*, server_fn::codec::Post};
use projections::{Receipt, ReleaseRow};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::page::written;
use super::{ApiError, encoding::Written};

/// Rows of a page of a list.
pub const PAGE: u32 = 50;

/// Which releases, as the address says it. Empty text is no such filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleasesAsked {
    /// Words, or the beginning of a digest.
    pub q: String,
    /// `in-flight`, `promoted`, `aborted`, `rolled-back`.
    pub state: String,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// Who started it.
    pub actor: String,
    /// Started at or after; see [`crate::range`].
    pub from: String,
    /// Started before.
    pub until: String,
    /// `started`, `took`, `exposed`, `energy`, each with `up-` for the other direction.
    pub sort: String,
    /// The place in the list after which it goes on.
    pub after: String,
}

impl ReleasesAsked {
    /// The same without a place: the beginning of the list.
    pub fn first(&self) -> Self {
        Self { after: String::new(), ..self.clone() }
    }

    /// The address that asks this.
    pub fn href(&self) -> String {
        crate::words::query(
            "/releases",
            &[
                ("q", &self.q),
                ("state", &self.state),
                ("service", &self.service),
                ("environment", &self.environment),
                ("actor", &self.actor),
                ("from", &self.from),
                ("until", &self.until),
                ("sort", &self.sort),
                ("after", &self.after),
            ],
        )
    }

    /// Whether anything is filtered.
    pub fn filtered(&self) -> bool {
        [&self.q, &self.state, &self.service, &self.environment, &self.actor, &self.from, &self.until]
            .into_iter()
            .any(|text| !text.is_empty())
    }
}

/// A page of releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleasesPage {
    /// In the order asked for.
    pub rows: Vec<ReleaseRow>,
    /// The place where the next page begins, when there are more.
    pub next: Option<String>,
    /// How many fit, on all pages.
    pub of: u64,
    /// Last index of the log that this includes.
    pub as_of: Option<u64>,
}

/// Releases, a [`ReleasesPage`]. With a place, only those after it.
#[server(prefix = "/api", endpoint = "get_releases", output = Post<Written>)]
pub async fn get_releases(asked: ReleasesAsked) -> Result<String, ApiError> {
    use super::context::{answered, reader};
    answered(
        async {
            let read = reader()?;
            let filter = release_filter(&asked)?;
            let sort = filter.sort;
            let projections::ReleaseList { mut rows, of, as_of } =
                read.release_list(filter).await.map_err(super::reads::could_not)?;
            let more = rows.len() > PAGE as usize;
            rows.truncate(PAGE as usize);
            let next = rows.last().filter(|_| more).map(|row| projections::Place::of(sort, row).to_string());
            written(ReleasesPage { next, rows, of, as_of })
        }
        .await,
    )
}

#[cfg(feature = "ssr")]
fn release_filter(asked: &ReleasesAsked) -> Result<projections::ReleaseFilter, ApiError> {
    use super::reads::parsed;
    use crate::range::{End, moment};
    /// More than anybody types; the longest id has 80.
    const MAX_TEXT: usize = 500;
    if asked.q.chars().count() > MAX_TEXT {
        return Err(ApiError::Invalid(format!("a search has at most {MAX_TEXT} characters")));
    }
    let now = super::context::now();
    Ok(projections::ReleaseFilter {
        service: parsed(&asked.service)?,
        state: (!asked.state.is_empty()).then(|| asked.state.clone()),
        environment: parsed(&asked.environment)?,
        actor: parsed(&asked.actor)?,
        text: (!asked.q.trim().is_empty()).then(|| asked.q.clone()),
        from: moment(&asked.from, End::From, now).map_err(ApiError::Invalid)?,
        before: moment(&asked.until, End::Until, now).map_err(ApiError::Invalid)?,
        sort: parsed(&asked.sort)?.unwrap_or_default(),
        after: parsed(&asked.after)?,
        // One more than is shown tells whether there are more.
        limit: PAGE + 1,
    })
}

/// Which receipts, as the address says it. Empty text is no such filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiptsAsked {
    /// Of this release.
    pub release: String,
    /// Of this kind.
    pub kind: String,
    /// By this actor.
    pub actor: String,
    /// Below this index.
    pub before: String,
    /// At or after; see [`crate::range`].
    pub from: String,
    /// Before.
    pub until: String,
}

impl ReceiptsAsked {
    /// The address that asks this.
    pub fn href(&self) -> String {
        crate::words::query(
            "/receipts",
            &[
                ("release", &self.release),
                ("kind", &self.kind),
                ("actor", &self.actor),
                ("before", &self.before),
                ("from", &self.from),
                ("until", &self.until),
            ],
        )
    }

    /// Whether a receipt that arrives belongs to the list. A range of time has an end that nothing new is before.
    pub fn takes(&self, receipt: &Receipt) -> bool {
        let p = &receipt.payload;
        let is = |asked: &str, found: Option<&str>| asked.is_empty() || found == Some(asked);
        self.before.is_empty()
            && self.until.is_empty()
            && is(&self.release, p.release.as_ref().map(|r| r.as_str()))
            && is(&self.kind, Some(p.kind.as_str()))
            && is(&self.actor, Some(p.actor.as_str()))
    }
}

/// A page of receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptsPage {
    /// Newest first.
    pub receipts: Vec<Receipt>,
    /// Index below which the next page begins, when there may be more.
    pub next_before: Option<u64>,
    /// Last index of the log that this includes.
    pub as_of: Option<u64>,
}

/// Receipts, newest first: a [`ReceiptsPage`].
#[server(prefix = "/api", endpoint = "get_receipts", output = Post<Written>)]
pub async fn get_receipts(asked: ReceiptsAsked) -> Result<String, ApiError> {
    use super::context::{answered, now, reader};
    use super::reads::{could_not, parsed};
    use crate::range::{End, moment};
    answered(
        async {
            let before = match asked.before.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| ApiError::Invalid(format!("{text:?} is not an index")))?),
            };
            let filter = projections::ReceiptFilter {
                release: parsed(&asked.release)?,
                kind: parsed(&asked.kind)?,
                actor: parsed(&asked.actor)?,
                subject: None,
                before,
                least: None,
                from: moment(&asked.from, End::From, now()).map_err(ApiError::Invalid)?,
                until: moment(&asked.until, End::Until, now()).map_err(ApiError::Invalid)?,
                limit: PAGE + 1,
            };
            let read = reader()?;
            let size = read.size().await.map_err(could_not)?;
            let mut receipts = read.receipts(filter).await.map_err(could_not)?;
            let more = receipts.len() > PAGE as usize;
            receipts.truncate(PAGE as usize);
            written(ReceiptsPage {
                next_before: receipts.last().filter(|_| more).map(|r| r.index),
                // The list may already hold one that came after the size was read.
                as_of: size.receipts.checked_sub(1).max(receipts.first().map(|r| r.index)),
                receipts,
            })
        }
        .await,
    )
}
