//! Times: relative in the text, exact on hover and focus.

use leptos::prelude::*;
use model::Timestamp;
use projections::say;

use crate::live::use_live;

/// `6 min ago`, with the exact UTC in its title; moves with the page's clock.
#[component]
pub fn Ago(
    /// The time.
    at: Timestamp,
) -> impl IntoView {
    let now = use_live().now;
    view! { <time datetime=at.to_string() title=say::exact(at)>{move || say::ago(at, now.get())}</time> }
}

/// `13:46:32`, with the exact UTC in its title.
#[component]
pub fn Clock(
    /// The time.
    at: Timestamp,
) -> impl IntoView {
    view! { <time datetime=at.to_string() title=say::exact(at)>{at.clock()}</time> }
}
