//! What of the page needs a press first: the receipt beside it, and the recomputation of a verdict. Its code is a part of its own
//! (`crate::parts`).

use leptos::{html, prelude::*};
use leptos_router::hooks::use_location;
use maud::html;
use projections::{ReleaseView, describe, say};
use serde_json::{Map, Value};

use crate::{
    api::{ApiError, reads},
    components::{ProblemLine, Settle, room, written},
    pages::receipts::{Fields, Proofs},
    words,
};

/// A receipt that the address asks for.
pub(crate) struct Asked {
    /// The release beside it.
    pub(crate) view: RwSignal<ReleaseView>,
    /// As it stands in the address.
    pub(crate) index: String,
    /// What the server said.
    pub(crate) loaded: Result<reads::ReceiptPage, ApiError>,
}

/// The receipt beside the page.
pub(crate) fn draw(asked: Asked) -> AnyView {
    let Asked { view, index, loaded } = asked;
    view! {
        <aside class="drawer" role="dialog" aria-labelledby="drawer-title">
            {head(view, index.clone())}
            {match loaded {
                Ok(loaded) => view! { <Body loaded/> }.settled(),
                Err(error) => view! { <h2 id="drawer-title" tabindex="-1">"Receipt "{index}</h2><ProblemLine error/> }.settled(),
            }}
        </aside>
    }
    .settled()
}

/// Where it is in the log, its neighbours within the release, the way to its page and the way out.
fn head(view: RwSignal<ReleaseView>, index: String) -> AnyView {
    let location = use_location();
    let at: Option<u64> = index.parse().ok();
    room(written(move || {
        let closed = words::address(&location.pathname.get(), &location.search.get(), [("receipt", None)]);
        let neighbour = |step: isize| {
            view.with(|v| {
                let place = v.receipts.iter().position(|r| Some(r.index) == at)?;
                v.receipts.get(place.checked_add_signed(step)?).map(|r| r.index)
            })
        };
        let link = |step: isize, name: &str, arrow: &str| match neighbour(step) {
            Some(i) => {
                html! { a.door href={ "/receipts/" (i) } aria-label={ (name) " receipt of this release, " (i) } { (arrow) } }
            }
            None => html! { span.off aria-hidden="true" { (arrow) } },
        };
        html! {
            div.drawer-head {
                (link(-1, "previous", "←"))
                (link(1, "next", "→"))
                a.door.page-link href={ "/receipts/" (index) } data-page="" { "Receipt " @if let Some(at) = at { (say::count(at)) } " as a page" }
                a.button.close href=(closed) data-noscroll="" aria-label="Close the receipt" title="Close (Esc)" { "×" }
            }
        }
        .into_string()
    }))
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

/// Fetches the table by its digests, checks these, and replays it.
pub(crate) async fn replayed(facts: Map<String, Value>) -> Result<String, String> {
    let mut table = Vec::new();
    for digest in judge::sequential::tables(&facts).unwrap_or_default() {
        let text = crate::api::verdicts::get_verdict_ticks(digest.clone())
            .await
            .map_err(|error| format!("the ticks {} could not be fetched: {error}", say::short(&digest)))?;
        if sha256(text.as_bytes()) != digest {
            return Err(format!("the ticks do not have the digest {digest} that the receipt names"));
        }
        table.push(text);
    }
    let found = judge::sequential::audit(&facts, table.iter().map(|t| t.as_bytes())).map_err(|e| e.to_string())?;
    Ok(format!(
        "{} from {}: the ticks have the digests that the receipt names, and give its verdict and its evidence (ln E = {:.9})",
        found.verdict.as_str(),
        say::plural(found.totals.ticks, "tick", "ticks"),
        found.ln_e.joint
    ))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    model::Digest::from_sha256(&Sha256::digest(bytes).into()).to_string()
}
