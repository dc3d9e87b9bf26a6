//! The drawer: a receipt beside the page that it was opened from. Its address names it, so it can be sent to somebody; without
//! JavaScript the links lead to the receipt's own page instead.

use std::cell::RefCell;

use leptos::{ev, html, prelude::*};
use leptos_router::hooks::{use_location, use_query_map};
use projections::{ReleaseView, describe, say};

use crate::{
    api::reads::{self, get_receipt},
    components::{ProblemLine, Settle, typing, use_step},
    pages::receipts::{Fields, Proofs},
    words,
};

/// Opens receipts in the drawer: for a press anywhere on the page that lands on a link to one.
pub fn opener() -> impl Fn(ev::MouseEvent) + Clone + 'static {
    let step = use_step();
    move |e: ev::MouseEvent| {
        if e.default_prevented() || e.button() != 0 || e.ctrl_key() || e.meta_key() || e.shift_key() || e.alt_key() {
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
    view! {
        <Transition>
            {move || Suspend::new(async move {
                let index = asked.get_untracked();
                page.await.map(|result| view! {
                    <aside class="drawer" role="dialog" aria-labelledby="drawer-title">
                        <Head view index=index.clone().unwrap_or_default()/>
                        {match result {
                            Ok(loaded) => view! { <Body loaded/> }.settled(),
                            Err(error) => view! { <h2 id="drawer-title" tabindex="-1">"Receipt "{index}</h2><ProblemLine error/> }.settled(),
                        }}
                    </aside>
                }.settled())
            })}
        </Transition>
    }
}

/// Where it is in the log, its neighbours within the release, the way to its page and the way out.
#[component]
fn Head(view: RwSignal<ReleaseView>, index: String) -> impl IntoView {
    let location = use_location();
    let closed = move || words::address(&location.pathname.get(), &location.search.get(), [("receipt", None)]);
    let at: Option<u64> = index.parse().ok();
    let neighbour = move |step: isize| {
        view.with(|v| {
            let place = v.receipts.iter().position(|r| Some(r.index) == at)?;
            v.receipts.get(place.checked_add_signed(step)?).map(|r| r.index)
        })
    };
    let link = move |step: isize, name: &'static str, arrow: &'static str| {
        move || {
            match neighbour(step) {
            Some(i) => view! { <a class="door" href=format!("/receipts/{i}") aria-label=format!("{name} receipt of this release, {i}")>{arrow}</a> }.settled(),
            None => view! { <span class="off" aria-hidden="true">{arrow}</span> }.settled(),
        }
        }
    };
    view! {
        <div class="drawer-head">
            {link(-1, "previous", "←")}
            {link(1, "next", "→")}
            <a class="door page-link" href=format!("/receipts/{index}") data-page="">"Receipt "{at.map(say::count)}" as a page"</a>
            <a class="button close" href=closed data-noscroll="" aria-label="Close the receipt" title="Close (Esc)">"×"</a>
        </div>
    }
}

#[component]
fn Body(loaded: reads::ReceiptPage) -> impl IntoView {
    let said = describe(&loaded.receipt);
    let detail = (!said.detail.is_empty()).then_some(said.detail);
    let title = NodeRef::<html::H2>::new();
    Effect::new(move |_| {
        if let Some(title) = title.get() {
            let _ = title.focus();
        }
    });
    view! {
        <h2 id="drawer-title" tabindex="-1" node_ref=title>{said.headline}</h2>
        {detail.map(|d| view! { <p class="lead">{d}</p> })}
        <Proofs loaded=loaded.clone()/>
        <Fields loaded/>
    }
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
