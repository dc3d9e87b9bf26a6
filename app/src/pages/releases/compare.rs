//! This release beside the one of the same service before it.

use leptos::{either::Either, prelude::*};
use model::{Timestamp, event::Outcome};
use projections::{Phase, ReleaseRow, ReleaseView, say};

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
    let card = previous.map(|p| {
        let href = format!("/releases/{}", p.id);
        let name = p.version.to_string();
        let elsewhere = (p.environment != view.with_untracked(|v| v.row.environment.clone())).then(|| format!(" in {}", p.environment));
        let before = StoredValue::new(p);
        let rows = move || view.with(|v| before.with_value(|p| rows(&v.row, p, now.get())));
        view! {
            <table class="beside">
                <thead><tr><th><span class="sr">"What"</span></th><th>"this"</th><th><a class="door" href=href>{name}</a>{elsewhere}</th></tr></thead>
                <tbody>
                    {move || rows().into_iter().map(|(what, this, that)| view! { <tr><th scope="row">{what}</th><td>{this}</td><td>{that}</td></tr> }).collect_view()}
                </tbody>
            </table>
        }
    });
    view! {
        <section aria-labelledby="beside">
            <h2 id="beside">"Beside the release before"</h2>
            {match card {
                Some(card) => Either::Left(card),
                None => Either::Right(view! { <p class="none">"It is the first of this service."</p> }),
            }}
        </section>
    }
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
