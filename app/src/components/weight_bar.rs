//! The share of traffic as a bar with the planned stops.

use maud::{Markup, html};
use model::Weight;

use crate::words::Tone;

/// A bar from 0 to 100 % with a mark at each planned weight below 100.
pub fn weight_bar(weight: Weight, stops: &[Weight], tone: Tone) -> Markup {
    let mut marks = stops.to_vec();
    marks.sort();
    marks.dedup();
    marks.retain(|w| (1..100).contains(&w.percent()));
    html! {
        svg class={ "bar " (tone.class()) } viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={ "weight " (weight.to_string()) } {
            rect.bar-all x="0" y="0" width="100" height="10" {}
            rect.bar-on x="0" y="0" width=(weight.percent()) height="10" {}
            @for mark in marks {
                line.bar-stop x1=(mark.percent()) x2=(mark.percent()) y1="0" y2="10" vector-effect="non-scaling-stroke" {}
            }
        }
    }
}
