//! The log, newest first, filtered by the address; with JavaScript it can be followed as it grows.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use model::Kind;
use projections::{Receipt, describe, say};

use super::range::RangeCheck;
use crate::{
    api::{
        ApiError,
        lists::{self, ReceiptsAsked, get_receipts},
    },
    components::{Ago, Heading, MoreLink, ProblemLine, Settle},
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
    let page = Resource::new_blocking(move || asked.get(), get_receipts);
    view! {
        <Title text="Receipts"/>
        <section class="page">
            <Heading>"Receipts"</Heading>
            {move || view! { <Filters asked=asked.get()/> }.settled()}
            <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
                {move || Suspend::new(async move {
                    match page.await {
                        Ok(loaded) => view! { <Loaded loaded asked=asked.get_untracked()/> }.settled(),
                        Err(error) => view! { <ProblemLine error/> }.settled(),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Filters(asked: ReceiptsAsked) -> impl IntoView {
    let kinds = Kind::ALL.iter().map(|k| {
        let on = asked.kind == k.as_str();
        view! { <option value=k.as_str() selected=on>{words::kind_name(*k)}</option> }
    });
    let ranges = RANGES.map(|(word, said)| {
        let on = asked.from == word && asked.until.is_empty();
        let from = if on { String::new() } else { word.to_owned() };
        let href = ReceiptsAsked { from, until: String::new(), before: String::new(), ..asked.clone() }.href();
        view! { <a class="chip" class:on=on href=href aria-current=on.then_some("true")>{said}{on.then_some(" ×")}</a> }
    });
    let clear = (asked != ReceiptsAsked::default()).then(|| view! { <a class="door" href="/receipts">"show all"</a> });
    let more = [&asked.from, &asked.until, &asked.before].iter().any(|text| !text.is_empty());
    view! {
        <form class="filters" method="get" action="/receipts" role="search">
            <label>"Kind "
                <select name="kind">
                    <option value="">"all"</option>
                    {kinds.collect_view()}
                </select>
            </label>
            <label>"Release " <input name="release" value=asked.release autocomplete="off" maxlength="80"/></label>
            <label>"By " <input name="actor" value=asked.actor autocomplete="off" maxlength="120"/></label>
            <span class="chips">{ranges.collect_view()}</span>
            <details class="more" open=more>
                <summary>"Range"</summary>
                <div>
                    <label>"From " <input name="from" value=asked.from autocomplete="off" maxlength="40" placeholder="30d or 2026-05-01"/></label>
                    <label>"Until " <input name="until" value=asked.until autocomplete="off" maxlength="40" placeholder="2026-05-07"/></label>
                    <label>"Below index " <input name="before" value=asked.before inputmode="numeric" autocomplete="off" maxlength="20"/></label>
                </div>
            </details>
            <button type="submit">"Filter"</button>
            {clear}
        </form>
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
    follow(as_of, move |arrival| {
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
            match get_receipts(asked).await {
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
    let awake = use_live().awake;
    let shown = Signal::derive(move || {
        rows.with(|rows| (rows.last().map_or(0, |r| r.index), rows.first().map_or(0, |r| r.index)))
    });
    view! {
        <p class="tail" class:off=move || !(grows && awake.get())>
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
        <p class="none" hidden=move || !rows.with(Vec::is_empty)>"No receipt fits."</p>
        <div class="wide" hidden=move || rows.with(Vec::is_empty)>
            <table class="receipts full">
                <thead>
                    <tr>
                        <th class="n">"Index"</th>
                        <th>"Time"</th>
                        <th>"Kind"</th>
                        <th>"What happened"</th>
                        <th>"Release"</th>
                        <th>"By"</th>
                        <th class="n">"Energy"</th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || rows.get() key=|receipt| receipt.index let:receipt>
                        <Line receipt/>
                    </For>
                </tbody>
            </table>
        </div>
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

#[component]
fn Line(receipt: Receipt) -> impl IntoView {
    let said = describe(&receipt);
    let p = receipt.payload;
    let release =
        p.release.as_ref().map(|r| view! { <a class="door" href=format!("/releases/{r}")>{r.to_string()}</a> });
    let by_kind = words::query("/receipts", &[("kind", p.kind.as_str())]);
    view! {
        <tr>
            <td class="n"><a class="door" href=format!("/receipts/{}", receipt.index)>{say::count(receipt.index)}</a></td>
            <td class="t"><Ago at=p.time/></td>
            <td><a class="door mute" href=by_kind>{words::kind_name(p.kind)}</a></td>
            <td class="w"><b>{said.headline}</b>" "<span class="mute">{said.detail}</span></td>
            <td class="rel">{release}</td>
            <td class="by">{p.actor.to_string()}</td>
            <td class="n">{p.energy.as_ref().map(say::energy)}</td>
        </tr>
    }
}
