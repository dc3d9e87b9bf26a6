//! Receipts in a list.

use maud::{Markup, html};
use projections::{Receipt, describe, say};

/// Receipts of one release, newest first: when, what in a sentence, where in the log. They are given in the order of the log.
pub fn receipts_table<'a>(receipts: impl DoubleEndedIterator<Item = &'a Receipt>) -> Markup {
    html! {
        table.receipts {
            thead.sr {
                tr {
                    th { "Time" }
                    th { "What happened" }
                    th { "Receipt" }
                }
            }
            tbody {
                @for receipt in receipts.rev() { (line(receipt)) }
            }
        }
    }
}

fn line(receipt: &Receipt) -> Markup {
    let said = describe(receipt);
    let (index, at) = (receipt.index, receipt.payload.time);
    html! {
        tr data-key=(index) {
            td.t { time title=(say::exact(at)) { (at.clock()) } }
            td.w { b { (said.headline) } " " span.mute { (said.detail) } }
            td.n { a.door href={ "/receipts/" (index) } aria-label={ "receipt " (index) } { (say::count(index)) } }
        }
    }
}
