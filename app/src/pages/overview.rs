//! Overview: what waits for a person, what is under way, what was.

use leptos::prelude::*;
use leptos_meta::Title;
use maud::{Markup, html};
use model::{Kind, ReleaseId, Tick, Timestamp};
use projections::{ReleaseRow, say};

use super::releases::release_table;
use crate::{
    api::{
        metrics::get_tiles,
        page::{PageResource, asked_for},
        reads::{self, get_overview},
        waiting::PromotionAsked,
    },
    components::{Heading, Settle, metric_tile, read_page, room, state, weight_bar, written},
    live::{Arrival, follow, use_live},
    words::{self, Tone},
};

/// The first page.
#[component]
pub fn OverviewPage() -> impl IntoView {
    let page = asked_for(String::new, |_| get_overview());
    view! {
        <Title text="Overview"/>
        {read_page(page, move |loaded| view! { <Loaded loaded page/> }.settled())}
    }
}

#[component]
fn Loaded(loaded: reads::OverviewPage, page: PageResource) -> impl IntoView {
    let as_of = loaded.overview.as_of;
    let overview = RwSignal::new(loaded.overview);
    let latest = RwSignal::new(loaded.latest);
    let asked = loaded.asked;
    let metrics = RwSignal::new(loaded.metrics.tiles);
    follow(as_of, None, move |arrival| match arrival {
        Arrival::Receipt(receipt) => {
            let mut unknown = false;
            overview.update(|o| unknown = o.fold(&receipt));
            let command = receipt.payload.facts.get("command").and_then(|c| c.as_str());
            if unknown || command == Some("promote-image") || receipt.payload.kind == Kind::PromotionCopied {
                page.refetch();
            }
            if receipt.payload.kind == Kind::CanaryCompleted {
                // The metrics are counted where all rollouts are; a rollout ends every few minutes at most.
                leptos::task::spawn_local(async move {
                    if let Ok(fresh) = get_tiles().await {
                        let _ = metrics.try_set(fresh.tiles);
                    }
                });
            }
        }
        Arrival::Tick(release, tick) => latest.update(|all| match all.iter_mut().find(|(id, _)| *id == release) {
            Some(slot) => slot.1 = *tick,
            None => all.push((release, *tick)),
        }),
        Arrival::Back => {}
    });
    let now = use_live().now;
    let under_way = written(move || {
        overview
            .with(|o| {
                latest.with(|latest| {
                    html! {
                        (waits(&o.waiting, &asked))
                        (flying(&o.in_flight, latest, now.get()))
                    }
                })
            })
            .into_string()
    });
    let metrics = written(move || {
        metrics.with(|tiles| {
            html! {
                section.metrics aria-labelledby="metrics" {
                    h2 #metrics {
                        "Last " (dora::DAYS) " days "
                        span { "all services, all environments · " a.door href="/dora/deployments" { "definitions" } }
                    }
                    div.tiles { @for tile in tiles { (metric_tile(tile)) } }
                }
            }
            .into_string()
        })
    });
    let recent = written(move || {
        overview.with(|o| {
            html! {
                section aria-labelledby="recent" {
                    h2 #recent { "Releases " span { a.door href="/releases" { "all" } } }
                    @if o.in_flight.is_empty() && o.recent.is_empty() {
                        (first_steps())
                    } @else {
                        (release_table(&o.recent, None, now.get_untracked()))
                    }
                }
                p.asof { (as_of_text(o.as_of)) }
            }
            .into_string()
        })
    });
    view! {
        <section class="page overview">
            <Heading class="sr">"Overview"</Heading>
            {room(under_way)}
            {room(metrics)}
            {room(recent)}
        </section>
    }
}

/// `as of receipt 18,204`.
pub(super) fn as_of_text(as_of: Option<u64>) -> String {
    as_of.map_or_else(|| "the log is empty".to_owned(), |i| format!("as of receipt {}", say::count(i)))
}

fn waits(rows: &[ReleaseRow], asked: &[PromotionAsked]) -> Markup {
    html! {
        section aria-labelledby="waits" {
            h2 #waits { "Waits for you " span { (rows.len() + asked.len()) } }
            @if rows.is_empty() && asked.is_empty() { p.row.none { "Nothing waits for a decision." } }
            @for row in rows {
                div.row.waiting data-key=(row.id) {
                    (state(Tone::Wait, "held"))
                    span.who { b { (row.service) } " " (row.version) }
                    span.say { (words::waits_because(row)) }
                    a.button href={ "/releases/" (row.id) } { "Look" }
                }
            }
            @for one in asked {
                div.row.waiting data-key={ "asked-" (one.receipt) } {
                    (state(Tone::Wait, "asked"))
                    span.who { b { (one.service) } " " (one.tag) }
                    span.say {
                        (one.by) " asked at " (one.at.clock()) " to promote its image to " (one.environment) "; a second person agrees by "
                        code { "deliveryos promote --service " (one.service) " --to " (one.environment) " --tag " (one.tag) " --agree " (one.receipt) }
                    }
                    a.button href={ "/receipts/" (one.receipt) } { "Look" }
                }
            }
        }
    }
}

fn flying(rows: &[ReleaseRow], latest: &[(ReleaseId, Tick)], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="flying" {
            h2 #flying { "Rolling out now " span { (rows.len()) } }
            @for row in rows { (one_flying(row, latest.iter().find(|(id, _)| *id == row.id).map(|(_, tick)| tick), now)) }
            @if rows.is_empty() { p.row.none.idle { "No release is under way." } }
        }
    }
}

fn one_flying(row: &ReleaseRow, tick: Option<&Tick>, now: Timestamp) -> Markup {
    let (tone, _) = words::state(row);
    let canary = tick.and_then(|t| t.canary.as_ref());
    let known = |ms: Option<f64>| ms.map_or_else(|| "n/a".to_owned(), |ms| format!("{} ms", say::latency(ms)));
    let errors = canary.and_then(|c| say::share(c.errors, c.n)).map_or_else(|| "n/a".to_owned(), say::ratio);
    html! {
        a class={ "row flying " (tone.class()) } href={ "/releases/" (row.id) } data-key=(row.id) {
            span.who { b { (row.service) } " " (row.version) }
            (weight_bar(row.weight, &row.stops, tone))
            span.num { (row.weight) }
            span.cmp.two {
                span { "p99 " b { (known(canary.and_then(|c| c.p99_ms))) } }
                " "
                span { "stable " (known(tick.and_then(|t| t.stable.p99_ms))) }
            }
            span.cmp { "5xx " b { (errors) } }
            span.clock { (words::clock(row, now)) }
        }
    }
}

/// An empty log says how to fill it.
fn first_steps() -> Markup {
    html! {
        div.first {
            p { "No release yet. Watch one on this machine:" }
            pre { code { "deliveryos demo" } }
            p { "or start your own, with the service named in the configuration:" }
            pre { code { "deliveryos release start SERVICE VERSION --recipe recipe.yaml" } }
        }
    }
}

/// What waits, what flies, and an empty log, for the gallery.
#[cfg(feature = "ssr")]
pub(crate) fn sample(held: &ReleaseRow, flies: &ReleaseRow, tick: &Tick, now: Timestamp) -> Markup {
    let asked = PromotionAsked {
        receipt: 18_190,
        service: "checkout".to_owned(),
        environment: "prod".to_owned(),
        tag: "v8".to_owned(),
        by: "dana".to_owned(),
        at: now,
    };
    html! {
        div.stack {
            (waits(std::slice::from_ref(held), std::slice::from_ref(&asked)))
            (waits(&[], &[]))
            (flying(std::slice::from_ref(flies), &[(flies.id.clone(), tick.clone())], now))
            (flying(&[], &[], now))
            (first_steps())
            (release_table(&[held.clone(), flies.clone()], None, now))
        }
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::*;

    #[test]
    fn each_latency_has_its_name_and_its_unit() {
        let row = crate::gallery::sample_view().row;
        let now = row.started;
        let tick: Tick = serde_json::from_str(crate::gallery::SECOND).unwrap();
        let html = one_flying(&row, Some(&tick), now).into_string();
        assert!(html.contains("<span>p99 <b>208 ms</b></span> <span>stable 202 ms</span>"), "{html}");
        let html = one_flying(&row, None, now).into_string();
        assert!(html.contains("<span>p99 <b>n/a</b></span> <span>stable n/a</span>"), "{html}");
    }
}
