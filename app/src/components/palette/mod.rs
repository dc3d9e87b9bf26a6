//! Search in place (`/`, Ctrl K), the list of keys (`?`), and `g` with a letter.
//!
//! What opens the dialogs is with every page; the dialogs themselves come at the first press (`crate::parts`). Without JavaScript the same
//! search is the page `/search`, where the link in the header leads.

pub(crate) mod dialogs;

use leptos::prelude::*;

use self::dialogs::Dialog;
use super::awaited;
use crate::{live::use_live, parts};

/// `g` waits so long for its letter, ms.
#[cfg(feature = "hydrate")]
const CHORD_MS: f64 = 1_500.0;

/// Which dialog was asked for last, and how often one was.
pub(crate) type Wanted = RwSignal<Option<(Dialog, u32)>>;

fn want(wanted: Wanted, dialog: Dialog) {
    wanted.update(|wanted| *wanted = Some((dialog, wanted.map_or(0, |(_, n)| n.wrapping_add(1)))));
}

/// The link to the search, and the dialogs behind it.
#[component]
pub fn Palette() -> impl IntoView {
    let wanted: Wanted = RwSignal::new(None);
    #[cfg(feature = "hydrate")]
    browser::listen(wanted);
    let awake = use_live().awake;
    let asked = Memo::new(move |_| wanted.with(Option::is_some));
    view! {
        <a
            class="find-link"
            href="/search"
            on:click=move |e| {
                if awake.get_untracked() && !(e.ctrl_key() || e.meta_key() || e.shift_key()) {
                    e.prevent_default();
                    want(wanted, Dialog::Search);
                }
            }
        >
            "Search "<kbd aria-hidden="true">"/"</kbd>
        </a>
        {awaited(move || {
            let asked = asked.get();
            Box::pin(async move { if asked { parts::dialogs(wanted).await } else { ().into_any() } })
        })}
    }
}

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::prelude::*;
    use leptos_router::hooks::use_navigate;

    use super::{CHORD_MS, Dialog, Wanted, want};
    use crate::{components::typing, places::PLACES};

    /// The keys of every page. Whoever types into a field types.
    pub(super) fn listen(wanted: Wanted) {
        let navigate = use_navigate();
        Effect::new(move |_| {
            let begun = StoredValue::new(f64::NEG_INFINITY);
            let navigate = navigate.clone();
            let handle = window_event_listener(leptos::ev::keydown, move |e| {
                let is_open = document().query_selector("dialog[open]").ok().flatten().is_some();
                let key = e.key();
                if (e.ctrl_key() || e.meta_key()) && !e.alt_key() && key.eq_ignore_ascii_case("k") {
                    e.prevent_default();
                    if !is_open {
                        want(wanted, Dialog::Search);
                    }
                    return;
                }
                if is_open || typing() || e.ctrl_key() || e.meta_key() || e.alt_key() {
                    return;
                }
                let now = js_sys::Date::now();
                let chord = now - begun.get_value() < CHORD_MS;
                begun.set_value(if key == "g" && !chord { now } else { f64::NEG_INFINITY });
                if chord && let Some(place) = PLACES.iter().find(|place| place.key == key) {
                    e.prevent_default();
                    navigate(place.href, Default::default());
                    return;
                }
                match key.as_str() {
                    "/" => want(wanted, Dialog::Search),
                    "?" => want(wanted, Dialog::Keys),
                    _ => return,
                }
                e.prevent_default();
            });
            on_cleanup(move || handle.remove());
        });
    }
}
