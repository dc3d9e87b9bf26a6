//! Rows of releases.

use maud::{Markup, html};
use model::Timestamp;
use projections::{ReleaseRow, ReleaseSort, SortBy, say};

use crate::{
    api::lists::ReleasesAsked,
    components::{ago, so_far, state_of},
};

/// Releases as a table; with `sorted`, what was asked for, its heads lead to the same list in another order.
pub fn release_table(rows: &[ReleaseRow], sorted: Option<&ReleasesAsked>, now: Timestamp) -> Markup {
    let head = |by: SortBy, said: &str, class: &str| sort_head(by, said, class, sorted);
    html! {
        div.wide {
            table.releases {
                thead {
                    tr {
                        th { "State" }
                        th { "Release" }
                        th { "Environment" }
                        (head(SortBy::Started, "Started", ""))
                        (head(SortBy::Took, "Took", ""))
                        th { "Worst finding" }
                        (head(SortBy::Exposed, "Exposed", "n"))
                        (head(SortBy::Energy, "Energy", "n"))
                        th { "Started by" }
                    }
                }
                tbody { @for row in rows { (line(row, now)) } }
            }
        }
    }
}

/// A head that leads to the other order of its column.
fn sort_head(by: SortBy, said: &str, class: &str, sorted: Option<&ReleasesAsked>) -> Markup {
    let Some(asked) = sorted else { return html! { th class=(class) { (said) } } };
    let now: ReleaseSort = asked.sort.parse().unwrap_or_default();
    let here = now.by == by;
    let (order, mark) = match (here, now.ascending) {
        (false, _) => (None, ""),
        (true, true) => (Some("ascending"), " ▲"),
        (true, false) => (Some("descending"), " ▼"),
    };
    let next = ReleaseSort { by, ascending: here && !now.ascending };
    let sort = if next == ReleaseSort::default() { String::new() } else { next.to_string() };
    let href = ReleasesAsked { sort, ..asked.clone() }.href();
    html! {
        th class=(class) aria-sort=[order] { a.door href=(href) { (said) span aria-hidden="true" { (mark) } } }
    }
}

fn line(row: &ReleaseRow, now: Timestamp) -> Markup {
    let joules = &row.joules;
    let bounds = (joules.n > 0).then(|| {
        format!(
            "{} to {}, {}",
            say::joules(joules.low),
            say::joules(joules.high),
            say::plural(joules.n, "receipt", "receipts")
        )
    });
    html! {
        tr data-key=(row.id) {
            td { (state_of(row)) }
            td.name { a.door href={ "/releases/" (row.id) } { b { (row.service) } " " (row.version) } }
            td { (row.environment) }
            td { (ago(row.started, now)) }
            td { @match row.ended {
                Some(end) => (say::duration(end.since(row.started))),
                None => (so_far(row.started, now)),
            } }
            td.worst { span.mute[row.worst.is_none() && row.stopped_by.is_none()] { (crate::words::worst(row)) } }
            td.n {
                // It is counted at the ends of steps.
                @if row.in_flight() && row.exposed == 0 { span.mute title="Counted when a step ends" { "not yet" } } @else { (say::count(row.exposed)) }
            }
            td.n title=[bounds] { (say::joules_sum(joules)) }
            td.by { (row.actor) }
        }
    }
}
