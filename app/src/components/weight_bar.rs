//! The share of traffic as a bar with the planned stops.

use leptos::prelude::*;
use model::Weight;

use crate::words::Tone;

/// A bar from 0 to 100 % with a mark at each planned weight below 100.
#[component]
pub fn WeightBar(
    /// The weight in force.
    weight: Weight,
    /// Planned weights.
    stops: Vec<Weight>,
    /// Colour of the bar.
    tone: Tone,
) -> impl IntoView {
    let mut marks = stops;
    marks.sort();
    marks.dedup();
    marks.retain(|w| (1..100).contains(&w.percent()));
    view! {
        <svg class=format!("bar {}", tone.class()) viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=format!("weight {weight}")>
            <rect class="bar-all" x="0" y="0" width="100" height="10"/>
            <rect class="bar-on" x="0" y="0" width=weight.percent().to_string() height="10"/>
            {marks
                .into_iter()
                .map(|w| {
                    let x = w.percent().to_string();
                    view! { <line class="bar-stop" x1=x.clone() x2=x y1="0" y2="10" vector-effect="non-scaling-stroke"/> }
                })
                .collect_view()}
        </svg>
    }
}
