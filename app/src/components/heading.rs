//! The heading of a page, which takes the focus after a navigation, so that a screen reader begins there.

use leptos::{html, prelude::*, web_sys};

/// An `h1`. The first page that a browser loads keeps the browser's own focus, and so does one that is only read again.
#[component]
pub fn Heading(
    /// Class, if it has one.
    #[prop(optional)]
    class: &'static str,
    /// What it says.
    children: Children,
) -> impl IntoView {
    let h1 = NodeRef::<html::H1>::new();
    Effect::new(move |_| {
        if let Some(h1) = h1.get() {
            arrived(h1.into());
        }
    });
    view! { <h1 class=class tabindex="-1" node_ref=h1>{children()}</h1> }
}

/// Gives the heading of a page that was come to the focus.
pub(crate) fn arrived(h1: web_sys::HtmlElement) {
    if navigated() {
        request_animation_frame(move || {
            let _ = h1.focus();
        });
    }
}

/// True when the address is another one than at the last heading.
fn navigated() -> bool {
    use std::cell::RefCell;
    thread_local!(static LAST: RefCell<Option<String>> = const { RefCell::new(None) });
    let here = window().location().pathname().unwrap_or_default();
    let before = LAST.with_borrow_mut(|last| last.replace(here.clone()));
    before.is_some_and(|before| before != here)
}
