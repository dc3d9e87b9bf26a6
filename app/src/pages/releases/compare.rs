//! This release beside the one of the same service before it.

use leptos::prelude::{Get, IntoView, RwSignal, Signal, With, component};
use maud::html;
use model::{Timestamp, event::Outcome};
use projections::{Phase, ReleaseRow, ReleaseView, say};

use crate::components::{room, written};

/// The card.
#[component]
pub fn Compare(
    /// The release.
    view: RwSignal<ReleaseView>,
    /// The one before.
    previous: Option<ReleaseRow>,
    /// The moment that is shown.
    now: Signal<Timestamp>,
) -> impl IntoView {
    room(written(move || view.with(|v| markup(&v.row, previous.as_ref(), now.get()))))
}

fn markup(this: &ReleaseRow, previous: Option<&ReleaseRow>, now: Timestamp) -> String {
    html! {
        section aria-labelledby="beside" {
            h2 #beside { "Beside the release before" }
            @match previous {
                Some(p) => table.beside {
                    thead {
                        tr {
                            th { span.sr { "What" } }
                            th { "this" }
                            th {
                                a.door href={ "/releases/" (p.id.to_string()) } { (p.version.to_string()) }
                                @if p.environment != this.environment { " in " (p.environment.to_string()) }
                            }
                        }
                    }
                    tbody {
                        @for (what, this, that) in rows(this, p, now) {
                            tr { th scope="row" { (what) } td { (this) } td { (that) } }
                        }
                    }
                },
                None => p.none { "It is the first of this service." },
            }
        }
    }
    .into_string()
}

fn rows(this: &ReleaseRow, that: &ReleaseRow, now: Timestamp) -> Vec<(&'static str, String, String)> {
    let both = |f: &dyn Fn(&ReleaseRow) -> String| (f(this), f(that));
    let row = |what, f: &dyn Fn(&ReleaseRow) -> String| {
        let (a, b) = both(f);
        (what, a, b)
    };
    vec![
        row("Outcome", &|r| match r.phase {
            Phase::Ended(Outcome::Promoted) => "promoted".to_owned(),
            Phase::Ended(Outcome::Aborted) => "aborted".to_owned(),
            Phase::Ended(Outcome::RolledBack) => "rolled back".to_owned(),
            _ => format!("at {}", r.weight),
        }),
        row("Took", &|r| {
            let so_far = if r.in_flight() { " so far" } else { "" };
            format!("{}{so_far}", say::clock(r.ended.unwrap_or(now).since(r.started)))
        }),
        row("Served by the canary", &|r| say::plural(r.exposed, "request", "requests")),
        row("Worst finding", &|r| r.worst.clone().unwrap_or_else(|| "none".to_owned())),
        row("Energy", &|r| say::joules_sum(&r.joules)),
        row("Started by", &|r| r.actor.to_string()),
    ]
}
