//! Rows of releases.

use leptos::{either::Either, prelude::*};
use projections::{ReleaseRow, ReleaseSort, SortBy, say};

use crate::{
    api::lists::ReleasesAsked,
    components::{Ago, StateOf},
    live::use_live,
};

/// Releases as a table; with `sorted`, its heads lead to the same list in another order.
#[component]
pub fn ReleaseTable(
    /// In their order.
    rows: Signal<Vec<ReleaseRow>>,
    /// What was asked for, when the order can be chosen.
    #[prop(optional, into)]
    sorted: Option<ReleasesAsked>,
) -> impl IntoView {
    let head = |by: SortBy, said: &'static str, class: &'static str| {
        view! { <SortHead by said class sorted=sorted.clone()/> }
    };
    view! {
        <div class="wide">
            <table class="releases">
                <thead>
                    <tr>
                        <th>"State"</th>
                        <th>"Release"</th>
                        <th>"Environment"</th>
                        {head(SortBy::Started, "Started", "")}
                        {head(SortBy::Took, "Took", "")}
                        <th>"Worst finding"</th>
                        {head(SortBy::Exposed, "Exposed", "n")}
                        {head(SortBy::Energy, "Energy", "n")}
                        <th>"By"</th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || rows.get() key=shown let:row>
                        <Row row/>
                    </For>
                </tbody>
            </table>
        </div>
    }
}

/// All of a row that its line shows: a line is drawn again when one of these changed.
fn shown(row: &ReleaseRow) -> (String, String, u64, u64, bool) {
    let state = crate::words::state(row);
    (row.id.to_string(), format!("{state:?} {:?}", row.worst), row.joules.n, row.exposed, row.ended.is_some())
}

/// A head that leads to the other order of its column.
#[component]
fn SortHead(by: SortBy, said: &'static str, class: &'static str, sorted: Option<ReleasesAsked>) -> impl IntoView {
    let Some(asked) = sorted else { return Either::Left(view! { <th class=class>{said}</th> }) };
    let now: ReleaseSort = asked.sort.parse().unwrap_or_default();
    let here = now.by == by;
    let (order, mark) = match (here, now.ascending) {
        (false, _) => (None, ""),
        (true, true) => (Some("ascending"), " ▲"),
        (true, false) => (Some("descending"), " ▼"),
    };
    let next = ReleaseSort { by, ascending: here && !now.ascending };
    let sort = if next == ReleaseSort::default() { String::new() } else { next.to_string() };
    let href = ReleasesAsked { sort, ..asked }.href();
    Either::Right(view! {
        <th class=class aria-sort=order><a class="door" href=href>{said}<span aria-hidden="true">{mark}</span></a></th>
    })
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
