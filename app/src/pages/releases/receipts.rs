//! The receipts of a release: all of them, or those of one sort.

use leptos::prelude::*;
use leptos_router::hooks::{use_location, use_query_map};
use maud::html;
use model::Kind;
use projections::{Receipt, ReleaseView};

use crate::{
    components::{VerifyReceipts, receipts_table, room, written},
    words,
};

/// Sorts of receipts: the word in the address, the word on the page.
const SORTS: [(&str, &str); 4] =
    [("people", "people"), ("verdicts", "verdicts"), ("steps", "steps"), ("rollback", "rollback")];

fn is_of(sort: &str, r: &Receipt) -> bool {
    use Kind as K;
    match sort {
        "people" => ![model::Actor::controller(), model::Actor::judge()].contains(&r.payload.actor),
        "verdicts" => words::verdict(r.payload.kind).is_some() || r.payload.kind == K::CanaryAborted,
        "steps" => matches!(
            r.payload.kind,
            K::CanaryStarted
                | K::CanaryStepped
                | K::CanaryPaused
                | K::CanaryResumed
                | K::CanaryPromoted
                | K::CanaryCompleted
        ),
        "rollback" => matches!(r.payload.kind, K::RollbackArmed | K::RollbackExecuted | K::CanaryAborted),
        _ => true,
    }
}

/// The section.
#[component]
pub fn ReceiptsOf(
    /// The release.
    view: RwSignal<ReleaseView>,
) -> impl IntoView {
    let query = use_query_map();
    let location = use_location();
    let sort =
        written(move || query.read().get("show").filter(|s| SORTS.iter().any(|(w, _)| w == s)).unwrap_or_default());
    let all = Signal::derive(move || view.with(|v| v.receipts.clone()));
    let head = written(move || {
        let (path, search, sort) = (location.pathname.get(), location.search.get(), sort.get());
        view.with(|v| {
            let (n, of) = (v.receipts.iter().filter(|r| is_of(&sort, r)).count(), v.receipts.len());
            let chip = |word: &str, said: &str| {
                let set = (!word.is_empty()).then(|| word.to_owned());
                let here = sort == word;
                html! {
                    a.chip.on[here] aria-current=[here.then_some("true")] href=(words::address(&path, &search, [("show", set)])) data-noscroll="" { (said) }
                }
            };
            html! {
                h2 #receipts {
                    "Receipts " span.count { @if n == of { (n) } @else { (n) " of " (of) } }
                }
                div.chips role="group" aria-label="Which receipts" {
                    (chip("", "all"))
                    @for (word, said) in SORTS { (chip(word, said)) }
                }
            }
            .into_string()
        })
    });
    let table = written(move || {
        let sort = sort.get();
        view.with(|v| receipts_table(v.receipts.iter().filter(|r| is_of(&sort, r))).into_string())
    });
    view! {
        <section aria-labelledby="receipts">
            {room(head)}
            <VerifyReceipts receipts=all of="of this release"/>
            {room(table)}
        </section>
    }
}
