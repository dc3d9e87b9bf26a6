//! Receipts in a list.

use leptos::prelude::*;
use projections::{Receipt, describe, say};

use super::Clock;

/// One line: when, what in a sentence, where in the log.
#[component]
pub fn ReceiptLine(
    /// The receipt.
    receipt: Receipt,
) -> impl IntoView {
    let said = describe(&receipt);
    let href = format!("/receipts/{}", receipt.index);
    view! {
        <tr>
            <td class="t"><Clock at=receipt.payload.time/></td>
            <td class="w"><b>{said.headline}</b>" "<span class="mute">{said.detail}</span></td>
            <td class="n"><a class="door" href=href aria-label=format!("receipt {}", receipt.index)>{say::count(receipt.index)}</a></td>
        </tr>
    }
}

/// Receipts of one release, newest first.
#[component]
pub fn ReceiptsTable(
    /// In the order of the log.
    #[prop(into)]
    receipts: Signal<Vec<Receipt>>,
) -> impl IntoView {
    let newest = move || receipts.with(|all| all.iter().rev().cloned().collect::<Vec<_>>());
    view! {
        <table class="receipts">
            <thead class="sr">
                <tr>
                    <th>"Time"</th>
                    <th>"What happened"</th>
                    <th>"Receipt"</th>
                </tr>
            </thead>
            <tbody>
                <For each=newest key=|r| r.index let:receipt>
                    <ReceiptLine receipt/>
                </For>
            </tbody>
        </table>
    }
}
