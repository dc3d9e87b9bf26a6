//! Delivery metrics: values, and the rows that each was computed from.

use dora::{Rollout, Tile, Window};
use leptos::{prelude::*, server_fn::codec::Post};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::page::written;
use super::{
    ApiError,
    encoding::{TextJson, Written},
};

/// Rows of a page of a metric.
pub const PAGE: usize = 100;
/// Rollouts left out that are listed: enough to see why.
pub const MAX_LEFT_OUT: usize = 100;

/// Every metric over the last [`dora::DAYS`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tiles {
    /// When.
    pub window: Window,
    /// In the order of `Metric::ALL`.
    pub tiles: Vec<Tile>,
}

/// A metric with a page of the rows that it was computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPage {
    /// When.
    pub window: Window,
    /// The value.
    pub tile: Tile,
    /// Newest first, at most [`PAGE`].
    pub rows: Vec<Rollout>,
    /// How many rows there are.
    pub of: u64,
    /// Receipt below which the next page begins, when there are more.
    pub next: Option<u64>,
    /// What was left out, newest first, at most [`MAX_LEFT_OUT`].
    pub left_out: Vec<Rollout>,
}

/// The window that is shown: it ends now.
#[cfg(feature = "ssr")]
pub(super) fn window() -> Window {
    Window::days_before(super::context::now(), dora::DAYS)
}

#[cfg(feature = "ssr")]
pub(super) async fn tiles(read: &dyn projections::ReadModel) -> Result<Tiles, ApiError> {
    let window = window();
    let rollouts = read.rollouts(window.from).await.map_err(super::reads::could_not)?;
    Ok(Tiles { window, tiles: dora::tiles(window, &rollouts) })
}

/// The values of all metrics.
#[server(prefix = "/api", endpoint = "get_tiles", output = Post<TextJson>)]
pub async fn get_tiles() -> Result<Tiles, ApiError> {
    use super::context::{answered, reader};
    answered(async { tiles(&*reader()?).await }.await)
}

/// One metric and its rows below this receipt: a [`MetricPage`].
#[server(prefix = "/api", endpoint = "get_metric", output = Post<Written>)]
pub async fn get_metric(metric: String, below: String) -> Result<String, ApiError> {
    use super::context::{answered, reader};
    answered(
        async {
            let metric: dora::Metric =
                metric.parse().map_err(|_| ApiError::NotFound(format!("delivery metric {metric}")))?;
            let below: u64 = match below.as_str() {
                "" => u64::MAX,
                text => text.parse().map_err(|_| ApiError::Invalid(format!("{text:?} is not an index")))?,
            };
            let read = reader()?;
            let window = window();
            let rollouts = read.rollouts(window.from).await.map_err(super::reads::could_not)?;
            let measured = dora::measure(metric, window, &rollouts);
            let mut rows: Vec<Rollout> =
                measured.rows.iter().rev().filter(|r| r.receipt < below).take(PAGE + 1).copied().cloned().collect();
            let more = rows.len() > PAGE;
            rows.truncate(PAGE);
            let tile = dora::tiles(window, &rollouts).into_iter().find(|tile| tile.metric == metric);
            written(MetricPage {
                window,
                tile: tile.ok_or_else(|| ApiError::NotFound(format!("delivery metric {metric:?}")))?,
                of: measured.rows.len() as u64,
                next: rows.last().filter(|_| more).map(|last| last.receipt),
                left_out: measured.left_out.iter().rev().take(MAX_LEFT_OUT).copied().cloned().collect(),
                rows,
            })
        }
        .await,
    )
}
