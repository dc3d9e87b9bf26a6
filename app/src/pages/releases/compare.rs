//! This release beside the one of the same service before it.

use maud::html;
use model::{Timestamp, event::Outcome};
use projections::{Phase, ReleaseRow, say};

use crate::{api::reads::Previous, words};

/// The card.
pub(super) fn markup(this: &ReleaseRow, served: u64, previous: Option<&Previous>, now: Timestamp) -> String {
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
                                a.door href={ "/releases/" (p.id) } { (p.version) }
                                @if p.environment != this.environment.to_string() { " in " (p.environment) }
                            }
                        }
                    }
                    tbody {
                        @for ((what, this), that) in ROWS.iter().zip(column(this, served, now)).zip(&p.said) {
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

/// What is compared.
const ROWS: [&str; 6] = ["Outcome", "Took", "Served by the canary", "Worst finding", "Energy", "Started by"];

/// What is said of one release, for each of [`ROWS`].
pub(crate) fn column(r: &ReleaseRow, served: u64, now: Timestamp) -> Vec<String> {
    let (took, so_far) = match r.ended {
        Some(end) => (say::duration(end.since(r.started)), ""),
        None => (say::clock(now.since(r.started)), " so far"),
    };
    vec![
        match r.phase {
            Phase::Ended(Outcome::Promoted) => "promoted".to_owned(),
            Phase::Ended(Outcome::Aborted) => "aborted".to_owned(),
            Phase::Ended(Outcome::RolledBack) => "rolled back".to_owned(),
            _ => format!("at {}", r.weight),
        },
        took + so_far,
        say::plural(served, "request", "requests") + so_far,
        words::worst(r),
        say::joules_sum(&r.joules),
        r.actor.to_string(),
    ]
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::*;

    #[test]
    fn what_still_grows_says_so() {
        let mut row = crate::gallery::sample_view().row;
        let now = row.started.plus_millis(56_000);
        let said = column(&row, 1_204, now);
        assert_eq!(said[1..3], ["56 s so far", "1,204 requests so far"]);
        (row.phase, row.ended) = (Phase::Ended(Outcome::Promoted), Some(now));
        let said = column(&row, 1_204, now);
        assert_eq!(said[1..3], ["56 s", "1,204 requests"]);
    }
}
