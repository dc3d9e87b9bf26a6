//! What of the page needs a press first: the receipt beside it, and the recomputation of a verdict. Its code is a part of its own
//! (`crate::parts`).

use leptos::{html, prelude::*};
use leptos_router::hooks::use_location;
use maud::html;
use projections::{describe, say};
#[cfg(feature = "hydrate")]
use serde_json::{Map, Value};

use crate::{
    api::{ApiError, page::read, reads::ReceiptPage},
    components::{ProblemLine, Settle, room, written},
    pages::receipts::{Fields, Proofs},
    words,
};

/// A receipt that the address asks for.
pub(crate) struct Asked {
    /// The receipts of the release beside it, in the order of the log.
    pub(crate) places: RwSignal<Vec<u64>>,
    /// As it stands in the address.
    pub(crate) index: String,
    /// What the server said: a [`ReceiptPage`].
    pub(crate) loaded: Result<String, ApiError>,
}

/// The receipt beside the page.
pub(crate) fn draw(asked: Asked) -> AnyView {
    let Asked { places, index, loaded } = asked;
    view! {
        <section class="drawer" role="dialog" aria-labelledby="drawer-title">
            {head(places, index.clone())}
            {match loaded.and_then(|text| read(&text)) {
                Ok(loaded) => view! { <Body loaded/> }.settled(),
                Err(error) => view! { <h2 id="drawer-title" tabindex="-1">"Receipt "{index}</h2><ProblemLine error/> }.settled(),
            }}
        </section>
    }
    .settled()
}

/// Where it is in the log, its neighbours within the release, the way to its page and the way out.
fn head(places: RwSignal<Vec<u64>>, index: String) -> AnyView {
    let location = use_location();
    let at: Option<u64> = index.parse().ok();
    room(written(move || {
        let closed = words::address(&location.pathname.get(), &location.search.get(), [("receipt", None)]);
        let neighbour = |step: isize| {
            places.with(|all| {
                let place = all.iter().position(|i| Some(*i) == at)?;
                all.get(place.checked_add_signed(step)?).copied()
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
fn Body(loaded: ReceiptPage) -> impl IntoView {
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
#[cfg(feature = "hydrate")]
pub(crate) async fn replayed(facts: Map<String, Value>) -> Result<String, String> {
    let mut table = Vec::new();
    for digest in judge::sequential::tables(&facts).unwrap_or_default() {
        let text = crate::api::verdicts::get_verdict_ticks(digest.clone())
            .await
            .map_err(|error| format!("the counts {} could not be fetched: {error}", say::short(&digest)))?;
        if sha256(text.as_bytes()) != digest {
            return Err(format!("the counts do not have the digest {digest} that the receipt names"));
        }
        table.push(text);
    }
    let found = judge::sequential::audit(&facts, table.iter().map(|t| t.as_bytes())).map_err(|e| e.to_string())?;
    use judge::sequential::Verdict;
    let said = match found.verdict {
        Verdict::Regressed => "it is worse than stable",
        Verdict::Certified => "it is certified for this step",
        Verdict::Unrefuted if found.ln_e.joint >= judge::sequential::DOUBTFUL_ODDS.ln() => "not decided",
        Verdict::Unrefuted => "no regression found",
        Verdict::Inconclusive => "nothing can be said",
    };
    Ok(format!(
        "The same verdict again, {said}, from {} with the digests that the receipt names; its words: {}, ln E = {:.9}",
        say::plural(found.totals.ticks, "row of counts", "rows of counts"),
        found.verdict.as_str(),
        found.ln_e.joint
    ))
}

#[cfg(feature = "hydrate")]
fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    model::Digest::from_sha256(&Sha256::digest(bytes).into()).to_string()
}
