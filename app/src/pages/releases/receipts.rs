//! The receipts of a release: all of them, or those of one sort.

use leptos::prelude::*;
use leptos_router::hooks::{use_location, use_query_map};
use model::Kind;
use projections::{Receipt, ReleaseView};

use crate::{
    components::{ReceiptsTable, VerifyReceipts},
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
        Memo::new(move |_| query.read().get("show").filter(|s| SORTS.iter().any(|(w, _)| w == s)).unwrap_or_default());
    let shown = Signal::derive(move || {
        let sort = sort.get();
        view.with(|v| v.receipts.iter().filter(|r| is_of(&sort, r)).cloned().collect::<Vec<_>>())
    });
    let all = Signal::derive(move || view.with(|v| v.receipts.clone()));
    let count = move || {
        let (n, of) = (shown.with(Vec::len), all.with(Vec::len));
        if n == of { n.to_string() } else { format!("{n} of {of}") }
    };
    let href = move |word: &'static str| {
        let set = (!word.is_empty()).then(|| word.to_owned());
        words::address(&location.pathname.get(), &location.search.get(), [("show", set)])
    };
    let chip = move |word: &'static str, said: &'static str| {
        view! {
            <a
                class="chip"
                class:on=move || sort.get() == word
                aria-current=move || (sort.get() == word).then_some("true")
                href=move || href(word)
                data-noscroll=""
            >
                {said}
            </a>
        }
    };
    view! {
        <section aria-labelledby="receipts">
            <h2 id="receipts">"Receipts " <span class="count">{count}</span></h2>
            <div class="chips" role="group" aria-label="Which receipts">
                {chip("", "all")}
                {SORTS.into_iter().map(|(word, said)| chip(word, said)).collect_view()}
            </div>
            <VerifyReceipts receipts=all of="of this release"/>
            <ReceiptsTable receipts=shown/>
        </section>
    }
}
