//! The link to the next rows of a list.

use leptos::{either::Either, html, prelude::*};

/// Without JavaScript a link to the next page. With it the rows come here: at a press, and by themselves once the link comes into
/// view. Shows nothing when there are no more.
#[component]
pub fn MoreLink(
    /// Address of the next page, when there is one.
    href: Signal<Option<String>>,
    /// Whether the next rows may be put here; else the link leads on.
    here: Signal<bool>,
    /// While they are on their way.
    busy: RwSignal<bool>,
    /// Fetches them.
    more: Callback<()>,
) -> impl IntoView {
    let link = NodeRef::<html::A>::new();
    #[cfg(feature = "hydrate")]
    browser::when_seen(link, move || {
        if here.get_untracked() {
            more.run(());
        }
    });
    move || match href.get() {
        None => Either::Left(()),
        Some(href) => Either::Right(view! {
            // `external`: the router leaves it to us, and to the browser.
            <a
                class="door more"
                node_ref=link
                href=href
                rel="external"
                aria-busy=move || busy.get().to_string()
                on:click=move |ev| {
                    let plain = !(ev.ctrl_key() || ev.meta_key() || ev.shift_key() || ev.alt_key());
                    if plain && here.get_untracked() {
                        ev.prevent_default();
                        more.run(());
                    }
                }
            >
                {move || if busy.get() { "reading …" } else { "more" }}
            </a>
        }),
    }
}

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::{html, prelude::*};
    use wasm_bindgen::{JsCast as _, closure::Closure};
    use web_sys::{IntersectionObserver, IntersectionObserverEntry};

    /// Calls `seen` whenever the element comes into view.
    pub(super) fn when_seen(element: NodeRef<html::A>, seen: impl Fn() + Clone + 'static) {
        Effect::new(move |_| {
            let Some(element) = element.get() else { return };
            let seen = seen.clone();
            let callback = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
                let visible = |entry: wasm_bindgen::JsValue| {
                    entry.dyn_into::<IntersectionObserverEntry>().is_ok_and(|entry| entry.is_intersecting())
                };
                if entries.iter().any(visible) {
                    seen();
                }
            });
            let Ok(observer) = IntersectionObserver::new(callback.as_ref().unchecked_ref()) else { return };
            observer.observe(&element);
            let kept = StoredValue::new_local((observer, callback));
            on_cleanup(move || {
                let _ = kept.try_with_value(|(observer, _)| observer.disconnect());
            });
        });
    }
}
