//! A digest in short form, whole on hover, copied by a press.

use leptos::ev;
use maud::{Markup, html};
use model::Digest;

/// `sha256:4f2c…be19` with a button that copies all of it: the page that it is in gives presses on it to [`copy_pressed`]. Without JavaScript
/// the whole digest is in the title.
pub fn digest(digest: &Digest) -> Markup {
    html! {
        span.digest {
            code title=(digest.to_string()) { (digest.short()) }
            button.copy type="button" data-copy=(digest.to_string()) aria-label="Copy the digest" {
                svg viewBox="0 0 12 12" aria-hidden="true" { path d="M4 4V1.5h6.5V8H8M1.5 4H8v6.5H1.5z" {} }
                span role="status" {}
            }
        }
    }
}

/// Copies the digest whose button was pressed; false when something else was pressed.
#[cfg(feature = "hydrate")]
pub fn copy_pressed(e: &ev::MouseEvent) -> bool {
    use leptos::prelude::*;
    use wasm_bindgen::JsCast;
    use wasm_bindgen_futures::{JsFuture, spawn_local};
    let pressed = e.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok());
    let Some(button) = pressed.and_then(|p| p.closest("button[data-copy]").ok().flatten()) else { return false };
    spawn_local(async move {
        let text = button.get_attribute("data-copy").unwrap_or_default();
        let copied = JsFuture::from(window().navigator().clipboard().write_text(&text)).await.is_ok();
        if copied && let Ok(Some(status)) = button.query_selector("[role=status]") {
            status.set_text_content(Some("copied"));
            set_timeout(move || status.set_text_content(None), std::time::Duration::from_secs(2));
        }
    });
    true
}
/// Nothing is pressed on the server.
#[cfg(not(feature = "hydrate"))]
pub fn copy_pressed(_: &ev::MouseEvent) -> bool {
    false
}
