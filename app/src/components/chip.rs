//! A choice that is an address.

use maud::{Markup, html};

/// A link that is `on` or not; one that is on leads to the same without it.
pub fn chip(on: bool, href: &str, said: &str) -> Markup {
    html! { a.chip.on[on] href=(href) aria-current=[on.then_some("true")] { (said) @if on { " ×" } } }
}
