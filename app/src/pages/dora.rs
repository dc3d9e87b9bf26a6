//! A delivery metric: its value, how it is computed, and exactly the rollouts that it was computed from.

use dora::{Metric, Rollout, Value};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};
use maud::{Markup, html};
use model::Timestamp;
use projections::say;

use crate::{
    api::{
        metrics::{MetricPage, get_metric},
        page::asked_for,
    },
    components::{Heading, Settle, ago, read_page, shown, spark, state},
    live::use_live,
    metrics, words,
};

/// One metric.
#[component]
pub fn DoraPage() -> impl IntoView {
    let (params, query) = (use_params_map(), use_query_map());
    let asked = Memo::new(move |_| {
        (params.read().get("metric").unwrap_or_default(), query.read().get("below").unwrap_or_default())
    });
    let page = asked_for(
        move || asked.with(|(metric, below)| format!("{metric} {below}")),
        move |_| {
            let (metric, below) = asked.get_untracked();
            get_metric(metric, below)
        },
    );
    view! {
        <Title text="Delivery metrics"/>
        {read_page(page, |loaded| view! { <Loaded loaded/> }.settled())}
    }
}

#[component]
fn Loaded(loaded: MetricPage) -> impl IntoView {
    let now = use_live().now.get_untracked();
    let metric = loaded.tile.metric;
    let value = metrics::value(loaded.tile.value);
    let absent = matches!(loaded.tile.value, Value::Absent(_));
    view! {
        <section class="page metric">
            {shown(tabs(metric))}
            <Heading>{metric.name()}" "<span class:na=absent>{value}</span></Heading>
            {shown(body(&loaded, now))}
        </section>
    }
}

fn tabs(metric: Metric) -> Markup {
    html! {
        nav.chips aria-label="Delivery metrics" {
            @for other in Metric::ALL {
                a.chip.on[other == metric] href={ "/dora/" (other.as_str()) } aria-current=[(other == metric).then_some("page")] { (other.name()) }
            }
        }
    }
}

fn body(loaded: &MetricPage, now: Timestamp) -> Markup {
    let MetricPage { window, tile, rows, of, next, left_out } = loaded;
    let metric = tile.metric;
    let (first, second) = metrics::notes(tile, dora::DAYS);
    // What is not there is said in one sentence, over both lines of a tile.
    let between = if matches!(tile.value, Value::Absent(_)) { " " } else { ", " };
    let notes = [first, second].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(between);
    let older = next.map(|below| words::query(&format!("/dora/{}", metric.as_str()), &[("below", &below.to_string())]));
    let shown = rows.len() as u64;
    html! {
        p.mute { (notes) ". From " (ago(window.from, now)) " to now, all services, all environments." }
        p { (metric.definition()) }
        (spark(&tile.spark))
        section aria-labelledby="rows" {
            h2 #rows { "Computed from " span { @if *of > shown { (say::count(shown)) " of " } (say::count(*of)) } }
            @if rows.is_empty() { p.none { (nothing(&tile.value)) } } @else { (table(rows, metric, now)) }
            nav.pager aria-label="Pages of the list" { @if let Some(href) = older { a.door href=(href) { "older" } } }
        }
        @if !left_out.is_empty() {
            section aria-labelledby="left" {
                h2 #left { "Left out " span { "the data plane did not time these" } }
                (table(left_out, metric, now))
            }
        }
    }
}

/// What stands where there are no rows.
fn nothing(value: &Value) -> &'static str {
    use dora::Absent;
    match value {
        Value::Absent(Absent::NoChangeSource) => {
            "Nothing that this server reads says when changes were merged, so there is no value, and none is made up."
        }
        Value::Absent(Absent::NoIncidentSource) => {
            "Nothing that this server reads says which deployments followed an incident, so there is no value, and none is made up."
        }
        Value::Absent(Absent::NoFailures) => "No rollout had to be stopped in these days.",
        Value::Absent(Absent::NoRollouts) => "No rollout ended in these days.",
        _ => "None of the rollouts of these days counts.",
    }
}

fn table(rows: &[Rollout], metric: Metric, now: Timestamp) -> Markup {
    let timed = metric == Metric::TimeToRestore;
    html! {
        div.wide {
            table.rollouts {
                thead {
                    tr {
                        th { "Outcome" }
                        th { "Release" }
                        th { "Environment" }
                        th { "Ended" }
                        @if timed { th.n { "Restored in" } }
                        th.n { "Receipt" }
                    }
                }
                tbody { @for row in rows { (line(row, timed, now)) } }
            }
        }
    }
}

fn line(row: &Rollout, timed: bool, now: Timestamp) -> Markup {
    let (tone, word) = words::outcome(row.outcome);
    html! {
        tr {
            td { (state(tone, word)) }
            td.name { a.door href={ "/releases/" (row.release) } { b { (row.service) } " " (row.version) } }
            td { (row.environment) }
            td { (ago(row.ended, now)) }
            @if timed { td.n { (row.restore_ms.map_or_else(|| "not timed".to_owned(), say::duration)) } }
            td.n { a.door href={ "/receipts/" (row.receipt) } { (say::count(row.receipt)) } }
        }
    }
}
