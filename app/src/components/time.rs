//! Times: relative in the text, exact on hover and focus.
//!
//! A relative time is markup that carries its moment; [`tick`] writes all of them anew when the page's clock moves, so that no page has
//! to be drawn again for it.

use maud::{Markup, html};
use model::Timestamp;
use projections::say;

/// The moment, ms since 1970, of a time that is so long ago.
#[cfg(any(feature = "hydrate", test))]
const AGO: &str = "data-ago";
/// The moment, ms since 1970, since when something goes on.
#[cfg(any(feature = "hydrate", test))]
const SO_FAR: &str = "data-so-far";

/// `6 min ago`, with the exact UTC in its title; moves with the page's clock.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time data-ago=(at.as_millis()) datetime=(at.to_string()) title=(say::exact(at)) { (say::ago(at, now)) } }
}

/// `1:42 so far`; moves with the page's clock.
pub fn so_far(since: Timestamp, now: Timestamp) -> Markup {
    html! { span data-so-far=(since.as_millis()) { (said_so_far(since, now)) } }
}

/// `13:46:32`, with the exact UTC in its title.
pub fn clock(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) title=(say::exact(at)) { (at.clock()) } }
}

fn said_so_far(since: Timestamp, now: Timestamp) -> String {
    format!("{} so far", say::clock(now.since(since)))
}

/// Writes every relative time of the page anew.
#[cfg(feature = "hydrate")]
pub(crate) fn tick(now: Timestamp) {
    use wasm_bindgen::JsCast;
    let Ok(times) = leptos::prelude::document().query_selector_all(&format!("[{AGO}],[{SO_FAR}]")) else { return };
    for at in 0..times.length() {
        let Some(element) = times.get(at).and_then(|node| node.dyn_into::<web_sys::Element>().ok()) else { continue };
        let moment = |name: &str| Some(Timestamp::from_millis(element.get_attribute(name)?.parse().ok()?));
        let said = match (moment(AGO), moment(SO_FAR)) {
            (Some(at), _) => say::ago(at, now),
            (None, Some(since)) => said_so_far(since, now),
            (None, None) => continue,
        };
        if element.text_content().as_deref() != Some(&said) {
            element.set_text_content(Some(&said));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_the_moment_that_they_are_written_from() {
        let at: Timestamp = "2026-05-07T14:06:32.000Z".parse().unwrap();
        let now = at.plus_millis(360_000);
        let ms = at.as_millis();
        let (ago, so_far) = (ago(at, now).into_string(), so_far(at, now).into_string());
        assert!(ago.contains(&format!("{AGO}=\"{ms}\"")) && ago.contains(&say::ago(at, now)), "{ago}");
        assert!(so_far.contains(&format!("{SO_FAR}=\"{ms}\"")) && so_far.contains("so far"), "{so_far}");
    }
}
