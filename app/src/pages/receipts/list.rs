//! The log, newest first, filtered by the address; with JavaScript it can be followed as it grows.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use maud::{Markup, html};
use model::{Kind, Timestamp};
use projections::{Receipt, describe, say};

use super::range::RangeCheck;
use crate::{
    api::{
        ApiError,
        lists::{self, ReceiptsAsked, get_receipts},
        page::{asked_for, read},
    },
    components::{Heading, MoreLink, Settle, ago, chip, read_line, room, shown, written},
    live::{Arrival, follow, use_live},
    words,
};

/// Ranges that a press chooses.
const RANGES: [(&str, &str); 3] = [("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days")];
/// Rows of one page of the browser: more are slow to draw, and nobody reads them.
const MAX_ROWS: usize = 1_000;

/// The explorer.
#[component]
pub fn ReceiptsPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        ReceiptsAsked {
            release: get("release"),
            kind: get("kind"),
            actor: get("actor"),
            before: get("before"),
            from: get("from"),
            until: get("until"),
        }
    });
    let page = asked_for(move || asked.with(|asked| asked.href()), move |_| get_receipts(asked.get_untracked()));
    view! {
        <Title text="Receipts"/>
        <section class="page">
            <Heading>"Receipts"</Heading>
            {move || shown(filters(&asked.get()))}
            {read_line(page, move |loaded| view! { <Loaded loaded asked=asked.get_untracked()/> }.settled())}
        </section>
    }
}

fn filters(asked: &ReceiptsAsked) -> Markup {
    let range = |word: &str, said: &str| {
        let on = asked.from == word && asked.until.is_empty();
        let from = if on { String::new() } else { word.to_owned() };
        chip(on, &ReceiptsAsked { from, until: String::new(), before: String::new(), ..asked.clone() }.href(), said)
    };
    let more = [&asked.from, &asked.until, &asked.before].iter().any(|text| !text.is_empty());
    html! {
        form.filters method="get" action="/receipts" role="search" {
            label { "Kind "
                select name="kind" {
                    option value="" { "all" }
                    @for kind in Kind::ALL {
                        option value=(kind.as_str()) selected[asked.kind == kind.as_str()] { (words::kind_name(*kind)) }
                    }
                }
            }
            label { "Release " input name="release" value=(asked.release) autocomplete="off" maxlength="80"; }
            label { "By " input name="actor" value=(asked.actor) autocomplete="off" maxlength="120"; }
            span.chips { @for (word, said) in RANGES { (range(word, said)) } }
            details.more open[more] {
                summary { "Range" }
                div {
                    label { "From " input name="from" value=(asked.from) autocomplete="off" maxlength="40" placeholder="30d or 2026-05-01"; }
                    label { "Until " input name="until" value=(asked.until) autocomplete="off" maxlength="40" placeholder="2026-05-07"; }
                    label { "Below index " input name="before" value=(asked.before) inputmode="numeric" autocomplete="off" maxlength="20"; }
                }
            }
            button type="submit" { "Filter" }
            @if *asked != ReceiptsAsked::default() { a.door href="/receipts" { "show all" } }
        }
    }
}

#[component]
fn Loaded(loaded: lists::ReceiptsPage, asked: ReceiptsAsked) -> impl IntoView {
    let as_of = loaded.as_of;
    let rows = RwSignal::new(loaded.receipts);
    let next = RwSignal::new(loaded.next_before);
    // Followed only on wish: a list that moves cannot be read.
    let (tail, waiting) = (RwSignal::new(false), RwSignal::new(Vec::<Receipt>::new()));
    let (busy, problem) = (RwSignal::new(false), RwSignal::new(None::<ApiError>));
    let grows = asked.before.is_empty() && asked.until.is_empty();
    let take = asked.clone();
    follow(as_of, None, move |arrival| {
        let Arrival::Receipt(receipt) = arrival else { return };
        if !take.takes(&receipt) {
            return;
        }
        if tail.get_untracked() {
            let _ = rows.try_update(|rows| put_on_top(rows, vec![*receipt]));
        } else {
            let _ = waiting.try_update(|waiting| {
                waiting.push(*receipt);
                // Only so many are kept as are shown; the number goes on.
                if waiting.len() > MAX_ROWS {
                    waiting.remove(0);
                }
            });
        }
    });
    let show_new = move || {
        let new = waiting.try_update(std::mem::take).unwrap_or_default();
        let _ = rows.try_update(|rows| put_on_top(rows, new));
    };
    let more_of = asked.clone();
    let more = Callback::new(move |()| {
        let Some(before) = next.get_untracked() else { return };
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let asked = ReceiptsAsked { before: before.to_string(), ..more_of.clone() };
        leptos::task::spawn_local(async move {
            match get_receipts(asked).await.and_then(|text| read::<lists::ReceiptsPage>(&text)) {
                Ok(page) => {
                    let _ = rows.try_update(|rows| rows.extend(page.receipts));
                    let _ = next.try_set(page.next_before);
                }
                Err(error) => {
                    let _ = problem.try_set(Some(error));
                }
            }
            let _ = busy.try_set(false);
        });
    });
    let href_of = asked.clone();
    let href = Signal::derive(move || {
        next.get().map(|before| ReceiptsAsked { before: before.to_string(), ..href_of.clone() }.href())
    });
    let here = Signal::derive(move || rows.with(Vec::len) < MAX_ROWS);
    let newest = (!asked.before.is_empty()).then(|| ReceiptsAsked { before: String::new(), ..asked.clone() }.href());
    let shown = Signal::derive(move || {
        rows.with(|rows| (rows.last().map_or(0, |r| r.index), rows.first().map_or(0, |r| r.index)))
    });
    let now = use_live().now;
    let list = written(move || {
        rows.with(|rows| {
            let markup = match rows.as_slice() {
                [] => html! { p.none { "No receipt fits." } },
                rows => table(rows, now.get_untracked()),
            };
            markup.into_string()
        })
    });
    view! {
        <p class="tail woken" hidden=!grows>
            <label>
                <input
                    type="checkbox"
                    prop:checked=move || tail.get()
                    on:change=move |e| {
                        tail.set(event_target_checked(&e));
                        if tail.get_untracked() {
                            show_new();
                        }
                    }
                />
                " Follow"
            </label>
            <button type="button" hidden=move || waiting.with(Vec::is_empty) on:click=move |_| show_new()>
                {move || say::plural(waiting.with(|w| w.len() as u64), "new receipt", "new receipts")}
            </button>
        </p>
        {room(list)}
        <nav class="pager" aria-label="Pages of the list">
            {newest.map(|href| view! { <a class="door" href=href>"newest"</a> })}
            <MoreLink href here busy more/>
            {move || problem.get().map(|e| view! { <span class="note unknown" role="alert">{e.to_string()}</span> })}
        </nav>
        <RangeCheck range=shown/>
    }
}

/// Puts receipts, oldest first, above those that are there; what is there already stays as it is.
fn put_on_top(rows: &mut Vec<Receipt>, new: Vec<Receipt>) {
    let newest = rows.first().map(|receipt| receipt.index);
    let new = new.into_iter().rev().filter(|receipt| newest.is_none_or(|newest| receipt.index > newest));
    rows.splice(0..0, new.collect::<Vec<_>>());
    // Whoever follows reads at the top.
    rows.truncate(MAX_ROWS * 2);
}

fn table(receipts: &[Receipt], now: Timestamp) -> Markup {
    html! {
        div.wide {
            table.receipts.full {
                thead {
                    tr {
                        th.n { "Index" }
                        th { "Time" }
                        th { "Kind" }
                        th { "What happened" }
                        th { "Release" }
                        th { "By" }
                        th.n { "Energy" }
                    }
                }
                tbody { @for receipt in receipts { (line(receipt, now)) } }
            }
        }
    }
}

fn line(receipt: &Receipt, now: Timestamp) -> Markup {
    let said = describe(receipt);
    let (index, p) = (receipt.index, &receipt.payload);
    html! {
        tr data-key=(index) {
            td.n { a.door href={ "/receipts/" (index) } { (say::count(index)) } }
            td.t { (ago(p.time, now)) }
            td { a.door.mute href=(words::query("/receipts", &[("kind", p.kind.as_str())])) { (words::kind_name(p.kind)) } }
            td.w { b { (said.headline) } " " span.mute { (said.detail) } }
            td.rel { @if let Some(release) = &p.release { a.door href={ "/releases/" (release) } { (release) } } }
            td.by { (p.actor) }
            td.n { @if let Some(energy) = &p.energy { (say::energy(energy)) } }
        }
    }
}
