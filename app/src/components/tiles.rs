//! Delivery metrics as tiles: each a door to the rows that it was computed from.

use dora::{Tile, Value};
use maud::{Markup, html};

use crate::metrics;

/// One metric: name, value, spark line, what was counted.
pub fn metric_tile(tile: &Tile) -> Markup {
    let absent = matches!(tile.value, Value::Absent(_));
    let (first, second) = metrics::notes(tile, dora::DAYS);
    html! {
        a.tile href={ "/dora/" (tile.metric.as_str()) } title=(tile.metric.definition()) {
            span { (tile.metric.name()) }
            b.na[absent] { (metrics::value(tile.value)) }
            (spark(&tile.spark))
            small { (first) br; (second) }
        }
    }
}

/// How a value moved over its window. Gaps are parts in which there was nothing.
pub fn spark(parts: &[Option<f64>]) -> Markup {
    html! { svg.spark viewBox="0 0 90 22" aria-hidden="true" { path d=(metrics::spark(parts)) {} } }
}
