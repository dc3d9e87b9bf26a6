//! Pages: one file each. They fetch, and map values of `projections` to components.

mod login;
mod not_found;
mod overview;
mod receipts;
mod releases;

pub use login::Login;
pub use not_found::NotFound;
pub use overview::OverviewPage;
pub use receipts::{ReceiptPage, ReceiptsPage};
pub use releases::{ReleasePage, ReleasesPage};

use leptos::prelude::*;

/// Takes the focus to the page's heading after a navigation within the page, so that a screen reader begins there. The first
/// page keeps the browser's own focus.
pub(crate) fn focus_heading() {
    #[cfg(feature = "hydrate")]
    {
        use std::cell::Cell;
        use wasm_bindgen::JsCast;
        thread_local!(static FIRST: Cell<bool> = const { Cell::new(true) });
        Effect::new(move |_| {
            if !FIRST.replace(false)
                && let Ok(Some(h1)) = document().query_selector("main h1")
                && let Some(h1) = h1.dyn_ref::<web_sys::HtmlElement>()
            {
                let _ = h1.focus();
            }
        });
    }
    #[cfg(not(feature = "hydrate"))]
    {
        // Nothing has a focus on the server.
        let _ = Effect::new(|_| ());
    }
}
