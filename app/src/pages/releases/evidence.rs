//! What stands behind a release in one line: each word opens its receipt.

use maud::{Markup, PreEscaped, html};
use projections::{ReleaseView, say};

use super::page::Page;
use crate::words::{self, Tone};

/// One word of the line.
pub(super) struct Item {
    pub(super) tone: Tone,
    pub(super) name: &'static str,
    pub(super) detail: String,
    pub(super) receipt: Option<u64>,
}

/// The line. What is known of the image is as it is now: who looks back does not see it here.
pub(super) fn markup(p: &Page) -> String {
    let image = if p.past().is_none() { p.image.line.as_str() } else { "" };
    html! { div.evidence { (PreEscaped(image)) (line(items(p.view()))) } }.into_string()
}

/// Words that open their receipts.
pub(super) fn line(items: Vec<Item>) -> Markup {
    html! {
        @for i in items {
            @if let Some(receipt) = i.receipt {
                a class={ "door state " (i.tone.class()) } href={ "/receipts/" (receipt) } { b { (i.name) } " " span { (i.detail) } }
            } @else {
                span class={ "state " (i.tone.class()) } { b { (i.name) } " " span { (i.detail) } }
            }
        }
    }
}

fn items(v: &ReleaseView) -> Vec<Item> {
    let mut out = Vec::new();
    if let Some(first) = v.receipts.first() {
        out.push(Item {
            tone: Tone::Good,
            name: "Started",
            detail: format!("receipt {}", say::count(first.index)),
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
        let (tone, word) = words::verdict_of(&r.payload)?;
        Some((tone, word, r.index))
    });
    out.push(match verdict {
        Some((tone, word, index)) => Item {
            tone,
            name: "Analysis",
            detail: match analyses(v) {
                1 => word.to_owned(),
                n => format!("{word}, the last of {n}"),
            },
            receipt: Some(index),
        },
        None => Item {
            tone: Tone::Unknown,
            name: "Analysis",
            detail: if v.row.in_flight() { "under way" } else { "no verdict" }.to_owned(),
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
            tone: if j.modelled { Tone::Estimated } else { Tone::Good },
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
