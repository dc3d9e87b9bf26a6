//! A delivery metric: its value, how it is computed, and exactly the rollouts that it was computed from.

use dora::{Metric, Rollout, Value};
use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};
use projections::say;

use crate::{
    api::metrics::{MetricPage, get_metric},
    components::{Ago, Heading, ProblemNote, Settle, Spark, State},
    metrics, words,
};

/// One metric.
#[component]
pub fn DoraPage() -> impl IntoView {
    let (params, query) = (use_params_map(), use_query_map());
    let asked = Memo::new(move |_| {
        (params.read().get("metric").unwrap_or_default(), query.read().get("below").unwrap_or_default())
    });
    let page = Resource::new_blocking(move || asked.get(), |(metric, below)| get_metric(metric, below));
    view! {
        <Title text="Delivery metrics"/>
        <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(loaded) => view! { <Loaded loaded/> }.settled(),
                    Err(error) => view! { <ProblemNote error/> }.settled(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Loaded(loaded: MetricPage) -> impl IntoView {
    let MetricPage { window, tile, rows, of, next, left_out } = loaded;
    let metric = tile.metric;
    let (first, second) = metrics::notes(&tile, dora::DAYS);
    let notes = [first, second].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ");
    let tabs = Metric::ALL.into_iter().map(|other| {
        let on = other == metric;
        view! { <a class="chip" class:on=on href=format!("/dora/{}", other.as_str()) aria-current=on.then_some("page")>{other.name()}</a> }
    });
    let absent = matches!(tile.value, Value::Absent(_));
    let older = next.map(|below| words::query(&format!("/dora/{}", metric.as_str()), &[("below", &below.to_string())]));
    let none = rows.is_empty();
    let count = if of > rows.len() as u64 {
        format!("{} of {}", say::count(rows.len() as u64), say::count(of))
    } else {
        say::count(of)
    };
    view! {
        <section class="page metric">
            <nav class="chips" aria-label="Delivery metrics">{tabs.collect_view()}</nav>
            <Heading>{metric.name()}" "<span class:na=absent>{metrics::value(tile.value)}</span></Heading>
            <p class="mute">{notes}". From "<Ago at=window.from/>" to now, all services, all environments."</p>
            <p>{metric.definition()}</p>
            <Spark parts=tile.spark/>
            <section aria-labelledby="rows">
                <h2 id="rows">"Computed from " <span>{count}</span></h2>
                {if none {
                    Either::Left(view! { <p class="none">{nothing(&tile.value)}</p> })
                } else {
                    Either::Right(view! { <Rows rows metric/> })
                }}
                <nav class="pager" aria-label="Pages of the list">
                    {older.map(|href| view! { <a class="door" href=href>"older"</a> })}
                </nav>
            </section>
            {(!left_out.is_empty())
                .then(|| {
                    view! {
                        <section aria-labelledby="left">
                            <h2 id="left">"Left out " <span>"the data plane did not time these"</span></h2>
                            <Rows rows=left_out metric/>
                        </section>
                    }
                })}
        </section>
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

#[component]
fn Rows(rows: Vec<Rollout>, metric: Metric) -> impl IntoView {
    let timed = metric == Metric::TimeToRestore;
    view! {
        <div class="wide">
            <table class="rollouts">
                <thead>
                    <tr>
                        <th>"Outcome"</th>
                        <th>"Release"</th>
                        <th>"Environment"</th>
                        <th>"Ended"</th>
                        {timed.then(|| view! { <th class="n">"Restored in"</th> })}
                        <th class="n">"Receipt"</th>
                    </tr>
                </thead>
                <tbody>
                    {rows
                        .into_iter()
                        .map(|row| {
                            let (tone, word) = words::outcome(row.outcome);
                            let restored = row.restore_ms.map_or_else(|| "not timed".to_owned(), say::duration);
                            view! {
                                <tr>
                                    <td><State tone word/></td>
                                    <td class="name"><a class="door" href=format!("/releases/{}", row.release)><b>{row.service.to_string()}</b>" "{row.version.to_string()}</a></td>
                                    <td>{row.environment.to_string()}</td>
                                    <td><Ago at=row.ended/></td>
                                    {timed.then(|| view! { <td class="n">{restored}</td> })}
                                    <td class="n"><a class="door" href=format!("/receipts/{}", row.receipt)>{say::count(row.receipt)}</a></td>
                                </tr>
                            }
                        })
                        .collect_view()}
                </tbody>
            </table>
        </div>
    }
}
