//! All releases, filtered and ordered by the address.
//!
//! Without JavaScript the list is pages of [`PAGE`] rows, each with a link to the next. With it the next rows are put below the ones
//! that are there, by themselves when their end is scrolled to, up to [`MAX_ROWS`]; then the link leads on.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use maud::{Markup, html};
use model::Kind;
use projections::{Receipt, ReleaseSort, say};

use super::table::release_table;
use crate::{
    api::{
        ApiError,
        lists::{self, ReleasesAsked, get_releases},
        page::{asked_for, read},
    },
    components::{Heading, MoreLink, Settle, chip, read_line, room, shown, written},
    live::{Arrival, follow, use_live},
};

/// States that the list is filtered by.
const STATES: [(&str, &str); 4] =
    [("in-flight", "under way"), ("promoted", "promoted"), ("aborted", "aborted"), ("rolled-back", "rolled back")];
/// Ranges that a press chooses.
const RANGES: [(&str, &str); 3] = [("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days")];
/// Rows of one page of the browser: more are slow to draw, and nobody reads them.
const MAX_ROWS: usize = 1_000;

/// The list.
#[component]
pub fn ReleasesPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        ReleasesAsked {
            q: get("q"),
            state: get("state"),
            service: get("service"),
            environment: get("environment"),
            actor: get("actor"),
            from: get("from"),
            until: get("until"),
            sort: get("sort"),
            after: get("after"),
        }
    });
    let page = asked_for(move || asked.with(|asked| asked.href()), move |_| get_releases(asked.get_untracked()));
    view! {
        <Title text="Releases"/>
        <section class="page">
            <Heading>"Releases"</Heading>
            {move || shown(filters(&asked.get()))}
            {read_line(page, move |loaded| view! { <Loaded loaded asked=asked.get_untracked()/> }.settled())}
        </section>
    }
}

fn filters(asked: &ReleasesAsked) -> Markup {
    let asked = asked.clone().first();
    let state = |word: &str, said: &str| {
        let on = asked.state == word;
        let state = if on { String::new() } else { word.to_owned() };
        chip(on, &ReleasesAsked { state, ..asked.clone() }.href(), said)
    };
    let range = |word: &str, said: &str| {
        let on = asked.from == word && asked.until.is_empty();
        let from = if on { String::new() } else { word.to_owned() };
        chip(on, &ReleasesAsked { from, until: String::new(), ..asked.clone() }.href(), said)
    };
    let more = [&asked.service, &asked.environment, &asked.actor, &asked.until].iter().any(|text| !text.is_empty());
    html! {
        form.filters method="get" action="/releases" role="search" {
            label { "Find "
                input.find type="search" name="q" value=(asked.q) autocomplete="off" maxlength="500" placeholder="words, or a digest";
            }
            span.chips { @for (word, said) in STATES { (state(word, said)) } }
            span.chips { @for (word, said) in RANGES { (range(word, said)) } }
            @for (name, kept) in [("state", &asked.state), ("sort", &asked.sort)] {
                @if !kept.is_empty() { input type="hidden" name=(name) value=(kept); }
            }
            details.more open[more] {
                summary { "More filters" }
                div {
                    label { "Service " input name="service" value=(asked.service) autocomplete="off" maxlength="80"; }
                    label { "Environment " input name="environment" value=(asked.environment) autocomplete="off" maxlength="80"; }
                    label { "By " input name="actor" value=(asked.actor) autocomplete="off" maxlength="120"; }
                    label { "From " input name="from" value=(asked.from) autocomplete="off" maxlength="40" placeholder="30d or 2026-05-01"; }
                    label { "Until " input name="until" value=(asked.until) autocomplete="off" maxlength="40" placeholder="2026-05-07"; }
                }
            }
            button type="submit" { "Filter" }
            @if asked.filtered() {
                a.door href=(ReleasesAsked { sort: asked.sort.clone(), ..ReleasesAsked::default() }.href()) { "show all" }
            }
        }
    }
}

#[component]
fn Loaded(loaded: lists::ReleasesPage, asked: ReleasesAsked) -> impl IntoView {
    let as_of = loaded.as_of;
    let (rows, of, next) = (RwSignal::new(loaded.rows), RwSignal::new(loaded.of), RwSignal::new(loaded.next));
    // What a row includes already; rows that came later know more of the log.
    let known = StoredValue::new(vec![(rows.with_untracked(Vec::len), as_of)]);
    let (busy, problem) = (RwSignal::new(false), RwSignal::new(None::<ApiError>));
    let first = asked.after.is_empty();
    let newest_first = first && asked.sort.parse::<ReleaseSort>().unwrap_or_default() == ReleaseSort::default();

    let again = asked.first();
    follow(as_of, None, move |arrival| {
        let Arrival::Receipt(receipt) = arrival else { return };
        if !fold(rows, known, &receipt) && first && receipt.payload.kind == Kind::CanaryStarted {
            // Whether it fits the filters is for the server to say.
            let asked = again.clone();
            leptos::task::spawn_local(async move {
                let fresh = get_releases(asked).await.and_then(|text| read::<lists::ReleasesPage>(&text));
                let Ok(fresh) = fresh else { return };
                let _ = of.try_set(fresh.of);
                if newest_first {
                    put_on_top(rows, known, fresh);
                }
            });
        }
    });

    let more_of = asked.clone();
    let more = Callback::new(move |()| {
        let Some(after) = next.get_untracked() else { return };
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let asked = ReleasesAsked { after, ..more_of.clone() };
        leptos::task::spawn_local(async move {
            match get_releases(asked).await.and_then(|text| read::<lists::ReleasesPage>(&text)) {
                Ok(page) => {
                    let _ = known.try_update_value(|known| known.push((page.rows.len(), page.as_of)));
                    let _ = rows.try_update(|rows| rows.extend(page.rows));
                    let _ = next.try_set(page.next);
                }
                Err(error) => {
                    let _ = problem.try_set(Some(error));
                }
            }
            let _ = busy.try_set(false);
        });
    });
    let href_of = asked.clone();
    let href = Signal::derive(move || next.get().map(|after| ReleasesAsked { after, ..href_of.clone() }.href()));
    let here = Signal::derive(move || rows.with(Vec::len) < MAX_ROWS);
    let newest = asked.first().href();
    let filtered = asked.filtered();
    let count = written(move || {
        let (shown, of) = (rows.with(|rows| rows.len() as u64), of.get());
        if first && shown == of {
            say::plural(of, "release", "releases")
        } else {
            format!("{} of {} releases", say::count(shown), say::count(of))
        }
    });
    let (sorted, now) = (asked.first(), use_live().now);
    let list = written(move || {
        rows.with(|rows| {
            let markup = match rows.as_slice() {
                [] if filtered => html! { p.none { "No release fits." } },
                [] => html! { p.none { "There is no release yet." } },
                rows => release_table(rows, Some(&sorted), now.get_untracked()),
            };
            markup.into_string()
        })
    });
    view! {
        <p class="mute count">{count}</p>
        {room(list)}
        <nav class="pager" aria-label="Pages of the list">
            {(!first).then(|| view! { <a class="door" href=newest>"first page"</a> })}
            <MoreLink href here busy more/>
            {move || problem.get().map(|e| view! { <span class="note unknown" role="alert">{e.to_string()}</span> })}
        </nav>
    }
}

/// Takes a receipt into the row of its release; false when that is not here.
fn fold(
    rows: RwSignal<Vec<projections::ReleaseRow>>,
    known: StoredValue<Vec<(usize, Option<u64>)>>,
    receipt: &Receipt,
) -> bool {
    let Some(release) = &receipt.payload.release else { return true };
    let Some(at) = rows.try_with_untracked(|rows| rows.iter().position(|row| row.id == *release)).flatten() else {
        return false;
    };
    let mut end = 0;
    let included = known
        .try_with_value(|known| {
            known.iter().find_map(|(rows, as_of)| {
                end += rows;
                (at < end).then_some(*as_of)
            })
        })
        .flatten()
        .flatten();
    if included.is_none_or(|as_of| receipt.index > as_of) {
        rows.update(|rows| {
            if let Some(row) = rows.get_mut(at) {
                row.fold(receipt);
            }
        });
    }
    true
}

/// Puts releases that are not here on top.
fn put_on_top(
    rows: RwSignal<Vec<projections::ReleaseRow>>,
    known: StoredValue<Vec<(usize, Option<u64>)>>,
    fresh: lists::ReleasesPage,
) {
    let Some(newest) = rows.try_with_untracked(|rows| rows.first().map(|row| (row.started, row.id.clone()))) else {
        return;
    };
    let new: Vec<_> = fresh
        .rows
        .into_iter()
        .take_while(|row| newest.as_ref().is_none_or(|newest| (row.started, row.id.clone()) > *newest))
        .collect();
    if new.is_empty() {
        return;
    }
    let _ = known.try_update_value(|known| known.insert(0, (new.len(), fresh.as_of)));
    let _ = rows.try_update(|rows| {
        rows.splice(0..0, new);
    });
}
