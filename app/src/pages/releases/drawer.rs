//! The drawer: a receipt beside the page that it was opened from. Its address names it, so it can be sent to somebody; without
//! JavaScript the links lead to the receipt's own page instead. What is in it comes with the first press ([`parts::beside`]).

use std::cell::RefCell;

use leptos::{ev, prelude::*};
use leptos_router::hooks::use_query_map;
use projections::ReleaseView;

use super::aside::Asked;
use crate::{
    api::reads::get_receipt,
    components::{awaited, copy_pressed, typing, use_step},
    parts,
};

/// Opens receipts in the drawer: for a press anywhere on the page that lands on a link to one.
pub fn opener() -> impl Fn(ev::MouseEvent) + Clone + 'static {
    let step = use_step();
    move |e: ev::MouseEvent| {
        if e.default_prevented() || e.button() != 0 || e.ctrl_key() || e.meta_key() || e.shift_key() || e.alt_key() {
            return;
        }
        if copy_pressed(&e) {
            return;
        }
        if let Some(index) = link_to_receipt(&e) {
            e.prevent_default();
            step(vec![("receipt", Some(index.to_string()))]);
        }
    }
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
#[cfg(not(feature = "hydrate"))]
fn link_to_receipt(_: &ev::MouseEvent) -> Option<u64> {
    None
}

/// The drawer; nothing while no receipt is asked for.
#[component]
pub fn Drawer(
    /// The release beside it.
    view: RwSignal<ReleaseView>,
) -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| query.read().get("receipt").filter(|r| !r.is_empty()));
    let page = Resource::new_blocking(
        move || asked.get(),
        |asked| async move {
            match asked {
                Some(index) => Some(get_receipt(index).await),
                None => None,
            }
        },
    );
    let step = use_step();
    let focus = RefCell::new(None::<Opener>);
    // Whatever had the focus when it was opened gets it back.
    Effect::new(move |was_open: Option<bool>| {
        let open = asked.get().is_some();
        match (was_open.unwrap_or(false), open) {
            (false, true) => {
                focus.replace(Some(Opener::now()));
            }
            (true, false) => {
                if let Some(opener) = focus.take() {
                    opener.focus();
                }
            }
            _ => {}
        }
        open
    });
    Effect::new(move |_| {
        let step = step.clone();
        let handle = window_event_listener(ev::keydown, move |e| {
            if e.key() == "Escape" && asked.get_untracked().is_some() && !typing() {
                step(vec![("receipt", None)]);
            }
        });
        on_cleanup(move || handle.remove());
    });
    awaited(move || {
        Box::pin(async move {
            let index = asked.get_untracked().unwrap_or_default();
            match page.await {
                Some(loaded) => parts::beside(Asked { view, index, loaded }).await,
                None => ().into_any(),
            }
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
