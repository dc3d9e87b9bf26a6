//! What stands behind a release in one line: each word opens its receipt.

use leptos::prelude::{IntoView, RwSignal, With, component};
use maud::html;
use projections::{ReleaseView, say};

use crate::{
    components::{room, written},
    words::{self, Tone},
};

/// One word of the line.
struct Item {
    tone: Tone,
    name: &'static str,
    detail: String,
    receipt: Option<u64>,
}

/// The line.
#[component]
pub fn EvidenceLine(
    /// The release.
    view: RwSignal<ReleaseView>,
) -> impl IntoView {
    room(written(move || view.with(markup)))
}

fn markup(v: &ReleaseView) -> String {
    html! {
        div.evidence {
            @for i in items(v) {
                @if let Some(receipt) = i.receipt {
                    a class={ "door state " (i.tone.class()) } href={ "/receipts/" (receipt) } { b { (i.name) } " " span { (i.detail) } }
                } @else {
                    span class={ "state " (i.tone.class()) } { b { (i.name) } " " span { (i.detail) } }
                }
            }
        }
    }
    .into_string()
}

fn items(v: &ReleaseView) -> Vec<Item> {
    let mut out = Vec::new();
    if let Some(first) = v.receipts.first() {
        out.push(Item {
            tone: Tone::Good,
            name: "In the log",
            detail: format!("#{}", say::count(first.index)),
            receipt: Some(first.index),
        });
    }
    out.push(match &v.envelope {
        Some((index, e)) => Item {
            tone: Tone::Good,
            name: "Rollback armed",
            detail: format!("back to {}", e.previous_version),
            receipt: Some(*index),
        },
        None if v.row.in_flight() => {
            Item { tone: Tone::Unknown, name: "Rollback", detail: "not armed yet".to_owned(), receipt: None }
        }
        None => Item { tone: Tone::Unknown, name: "Rollback", detail: "was never armed".to_owned(), receipt: None },
    });
    let verdict = v.receipts.iter().rev().find_map(|r| {
        let (tone, word) = words::verdict(r.payload.kind)?;
        Some((tone, word, r.index))
    });
    out.push(match verdict {
        Some((tone, word, index)) => Item {
            tone,
            name: "Analysis",
            detail: format!("{word}, the last of {}", analyses(v)),
            receipt: Some(index),
        },
        None => Item {
            tone: Tone::Unknown,
            name: "Analysis",
            detail: if v.row.in_flight() { "no verdict yet" } else { "no verdict" }.to_owned(),
            receipt: None,
        },
    });
    let j = &v.row.joules;
    let at = v.receipts.iter().rev().find(|r| r.payload.energy.is_some()).map(|r| r.index);
    out.push(if j.n == 0 {
        Item { tone: Tone::Unknown, name: "Energy", detail: "n/a, no receipt carries joules".to_owned(), receipt: None }
    } else {
        let how = if j.modelled { "modelled" } else { "measured" };
        Item {
            tone: if j.modelled { Tone::Unknown } else { Tone::Good },
            name: "Energy",
            detail: format!("{how}, {} to {}", say::joules(j.low), say::joules(j.high)),
            receipt: at,
        }
    });
    out
}

fn analyses(v: &ReleaseView) -> usize {
    v.receipts.iter().filter(|r| words::verdict(r.payload.kind).is_some()).count()
}
