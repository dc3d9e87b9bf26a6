//! Delivery metrics as tiles: each a door to the rows that it was computed from.

use dora::{Tile, Value};
use leptos::prelude::*;

use crate::metrics;

/// One metric: name, value, spark line, what was counted.
#[component]
pub fn MetricTile(
    /// The metric.
    tile: Tile,
) -> impl IntoView {
    let href = format!("/dora/{}", tile.metric.as_str());
    let absent = matches!(tile.value, Value::Absent(_));
    let (first, second) = metrics::notes(&tile, dora::DAYS);
    view! {
        <a class="tile" href=href title=tile.metric.definition()>
            <span>{tile.metric.name()}</span>
            <b class:na=absent>{metrics::value(tile.value)}</b>
            <Spark parts=tile.spark/>
            <small>{first}<br/>{second}</small>
        </a>
    }
}

/// How a value moved over its window. Gaps are parts in which there was nothing.
#[component]
pub fn Spark(
    /// The value in each part of the window.
    parts: Vec<Option<f64>>,
) -> impl IntoView {
    view! {
        <svg class="spark" viewBox="0 0 90 22" aria-hidden="true">
            <path d=metrics::spark(&parts)/>
        </svg>
    }
}
