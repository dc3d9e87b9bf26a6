//! The receipts of a release: all of them, or those of one sort.

use maud::html;
use model::Kind;
use projections::Receipt;

use super::page::Page;
use crate::{
    components::{receipts_table, verify_line},
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

/// The sort that the address asks for; empty for all.
fn sort(p: &Page) -> &str {
    SORTS.iter().map(|(word, _)| *word).find(|word| *word == p.address.show).unwrap_or_default()
}

/// How many there are, and the sorts.
pub(super) fn head(p: &Page) -> String {
    let (v, sort) = (p.view(), sort(p));
    let (n, of) = (v.receipts.iter().filter(|r| is_of(sort, r)).count(), v.receipts.len());
    let chip = |word: &str, said: &str| {
        let set = (!word.is_empty()).then(|| word.to_owned());
        let here = sort == word;
        let address = words::address(&p.address.path, &p.address.search, [("show", set)]);
        html! { a.chip.on[here] aria-current=[here.then_some("true")] href=(address) data-noscroll="" { (said) } }
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
}

/// What was checked of them in this browser, and a button that checks the rest.
pub(super) fn check(p: &Page) -> String {
    verify_line(&p.check, &p.view().receipts, "of this release").into_string()
}

/// What the checks found.
pub(super) fn found(p: &Page) -> String {
    p.check.found()
}

/// The list.
pub(super) fn rows(p: &Page) -> String {
    let sort = sort(p);
    receipts_table(p.view().receipts.iter().filter(|r| is_of(sort, r))).into_string()
}
