//! The drawer: a receipt beside the page that it was opened from. Its address names it, so it can be sent to somebody; without
//! JavaScript the links lead to the receipt's own page instead. What is in it comes with the first press ([`parts::beside`]).

use std::cell::{Cell, RefCell};

use leptos::{ev, prelude::*};
use leptos_router::hooks::use_query_map;

use super::aside::Asked;
#[cfg(feature = "hydrate")]
use crate::components::copy_pressed;
use crate::{
    api::{
        page::{PageResource, asked_for},
        reads::get_receipt,
    },
    components::{awaited, typing, use_step, written},
    parts,
    verifier::seen_size,
};

/// The receipt to open in the drawer: for a press anywhere on the page that lands on a link to one.
#[cfg(feature = "hydrate")]
pub(super) fn pressed(e: &ev::MouseEvent) -> Option<u64> {
    let plain = e.button() == 0 && !e.ctrl_key() && !e.meta_key() && !e.shift_key() && !e.alt_key();
    if e.default_prevented() || !plain || copy_pressed(e) { None } else { link_to_receipt(e) }
}

/// The receipt that the pressed link leads to.
#[cfg(feature = "hydrate")]
fn link_to_receipt(e: &ev::MouseEvent) -> Option<u64> {
    use wasm_bindgen::JsCast;
    let pressed: web_sys::Element = e.target()?.dyn_into().ok()?;
    let link = pressed.closest("a[href]").ok()??;
    if link.has_attribute("data-page") {
        return None;
    }
    link.get_attribute("href")?.strip_prefix("/receipts/")?.parse().ok()
}

/// The receipt that the address asks for, empty for none, and what the server says of it.
#[derive(Clone, Copy)]
pub struct Beside {
    asked: Memo<String>,
    page: PageResource,
}

impl Beside {
    /// Made where the page begins and not where it is drawn: what the server read for it is found in the browser by its order among all that a
    /// page reads, and what waits for something else has no place of its own in that.
    pub fn begin() -> Self {
        let query = use_query_map();
        let asked = written(move || query.read().get("receipt").unwrap_or_default());
        let page = asked_for(
            move || asked.get(),
            |asked| async move { if asked.is_empty() { Ok(String::new()) } else { get_receipt(asked, seen_size()).await } },
        );
        Self { asked, page }
    }
}

/// The drawer; nothing while no receipt is asked for.
pub fn drawer(
    Beside { asked, page }: Beside,
    // The release's receipts, in the order of the log.
    places: RwSignal<Vec<u64>>,
) -> AnyView {
    let step = use_step();
    let (opener, was_open) = (RefCell::new(None::<Opener>), Cell::new(false));
    // Whatever had the focus when it was opened gets it back.
    Effect::new(move |_| {
        let open = !asked.read().is_empty();
        match (was_open.replace(open), open) {
            (false, true) => {
                opener.replace(Some(Opener::now()));
            }
            (true, false) => {
                if let Some(opener) = opener.take() {
                    opener.focus();
                }
            }
            _ => {}
        }
    });
    Effect::new(move |_| {
        let step = step.clone();
        let handle = window_event_listener(ev::keydown, move |e| {
            if e.key() == "Escape" && !asked.read_untracked().is_empty() && !typing() {
                step(vec![("receipt", None)]);
            }
        });
        on_cleanup(move || handle.remove());
    });
    awaited(move || {
        Box::pin(async move {
            let index = asked.get_untracked();
            let loaded = page.await;
            if index.is_empty() { ().into_any() } else { parts::beside(Asked { places, index, loaded }).await }
        })
    })
}

/// Who had the focus.
#[cfg(feature = "hydrate")]
struct Opener(Option<web_sys::Element>);
#[cfg(feature = "hydrate")]
impl Opener {
    fn now() -> Self {
        Self(document().active_element())
    }
    /// Gives it back; a link that was drawn again since is found by where it leads.
    fn focus(&self) {
        use wasm_bindgen::JsCast;
        let Some(before) = &self.0 else { return };
        let again = || {
            let href = before.get_attribute("href")?;
            document().query_selector(&format!(".release a[href='{href}']")).ok()?
        };
        let element = if before.is_connected() { Some(before.clone()) } else { again() };
        let Some(element) = element else { return };
        if let Some(html) = element.dyn_ref::<web_sys::HtmlElement>() {
            let _ = html.focus();
        } else if let Some(svg) = element.dyn_ref::<web_sys::SvgElement>() {
            let _ = svg.focus();
        }
    }
}
#[cfg(not(feature = "hydrate"))]
struct Opener;
#[cfg(not(feature = "hydrate"))]
impl Opener {
    fn now() -> Self {
        Self
    }
    fn focus(&self) {}
}
