//! All releases, newest first, filtered by the address.

use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use projections::{ReleaseRow, say};

use crate::{
    api::reads::{self, get_releases},
    components::{Ago, Heading, ProblemNote, StateOf},
    live::use_live,
    words,
};

/// States that the list is filtered by.
const STATES: [(&str, &str); 4] =
    [("in-flight", "under way"), ("promoted", "promoted"), ("aborted", "aborted"), ("rolled-back", "rolled back")];

/// The list.
#[component]
pub fn ReleasesPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        (get("service"), get("state"), get("before"))
    });
    let page =
        Resource::new_blocking(move || asked.get(), |(service, state, before)| get_releases(service, state, before));
    view! {
        <Title text="Releases"/>
        <section class="page">
            <Heading>"Releases"</Heading>
            {move || view! { <Filters asked=asked.get()/> }}
            <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
                {move || Suspend::new(async move {
                    match page.await {
                        Ok(loaded) => Either::Left(view! { <Loaded loaded asked=asked.get_untracked()/> }),
                        Err(error) => Either::Right(view! { <ProblemNote error/> }),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Filters(asked: (String, String, String)) -> impl IntoView {
    let (service, state, _) = asked;
    let chips = STATES.into_iter().map(|(word, said)| {
        let on = state == word;
        let href = words::query("/releases", &[("service", &service), ("state", if on { "" } else { word })]);
        view! { <a class="chip" class:on=on href=href aria-current=on.then_some("true")>{said}{on.then_some(" ×")}</a> }
    });
    view! {
        <form class="filters" method="get" action="/releases">
            <span class="chips">{chips.collect_view()}</span>
            {(!state.is_empty()).then(|| view! { <input type="hidden" name="state" value=state.clone()/> })}
            <label>"Service " <input name="service" value=service autocomplete="off" maxlength="80"/></label>
            <button type="submit">"Filter"</button>
        </form>
    }
}

#[component]
fn Loaded(loaded: reads::ReleasesPage, asked: (String, String, String)) -> impl IntoView {
    let (service, state, before) = asked;
    let first = before.is_empty();
    let older = loaded
        .next_before
        .map(|t| words::query("/releases", &[("service", &service), ("state", &state), ("before", &t.to_string())]));
    let newest = words::query("/releases", &[("service", &service), ("state", &state)]);
    let none = loaded.rows.is_empty();
    let rows = Signal::stored(loaded.rows);
    view! {
        {if none {
            Either::Left(view! { <p class="none">"No release fits."</p> })
        } else {
            Either::Right(view! { <ReleaseTable rows/> })
        }}
        <nav class="pager" aria-label="Pages of the list">
            {(!first).then(|| view! { <a class="door" href=newest>"newest"</a> })}
            {older.map(|href| view! { <a class="door" href=href>"older"</a> })}
        </nav>
    }
}

/// Rows of releases.
#[component]
pub fn ReleaseTable(
    /// Newest first.
    rows: Signal<Vec<ReleaseRow>>,
) -> impl IntoView {
    view! {
        <div class="wide">
            <table class="releases">
                <thead>
                    <tr>
                        <th>"State"</th>
                        <th>"Release"</th>
                        <th>"Environment"</th>
                        <th>"Started"</th>
                        <th>"Took"</th>
                        <th>"Worst finding"</th>
                        <th class="n">"Exposed"</th>
                        <th class="n">"Energy"</th>
                        <th>"By"</th>
                    </tr>
                </thead>
                <tbody>{move || rows.get().into_iter().map(|row| view! { <Row row/> }).collect_view()}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(row: ReleaseRow) -> impl IntoView {
    let now = use_live().now;
    let href = format!("/releases/{}", row.id);
    let (started, ended) = (row.started, row.ended);
    let took = move || match ended {
        Some(end) => say::duration(end.since(started)),
        None => format!("{} so far", say::clock(now.get().since(started))),
    };
    let worst = match row.worst.clone() {
        Some(worst) => Either::Left(view! { <span>{worst}</span> }),
        None => Either::Right(view! { <span class="mute">"none"</span> }),
    };
    let joules = row.joules;
    let bounds = (joules.n > 0).then(|| {
        format!(
            "{} to {}, {}",
            say::joules(joules.low),
            say::joules(joules.high),
            say::plural(joules.n, "receipt", "receipts")
        )
    });
    view! {
        <tr>
            <td><StateOf row=row.clone()/></td>
            <td class="name"><a class="door" href=href><b>{row.service.to_string()}</b>" "{row.version.to_string()}</a></td>
            <td>{row.environment.to_string()}</td>
            <td><Ago at=row.started/></td>
            <td>{took}</td>
            <td class="worst">{worst}</td>
            <td class="n">{say::count(row.exposed)}</td>
            <td class="n" title=bounds>{say::joules_sum(&joules)}</td>
            <td class="by">{row.actor.to_string()}</td>
        </tr>
    }
}
