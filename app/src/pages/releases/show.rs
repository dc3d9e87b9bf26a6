//! One release: where it stands in a sentence, its timeline, what can be done, what it is made of.

use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use leptos_router::{
    components::A,
    hooks::{use_params_map, use_query_map},
};
use model::Tick;
use projections::{ReleaseView, say};

use super::{clocks::Clocks, controls::Controls, envelope::EnvelopeCard, evidence::EvidenceLine, timeline::Timeline};
use crate::{
    api::reads::{self, MAX_POINTS, get_release},
    components::{DigestText, Heading, ProblemNote, ReceiptsTable},
    live::{Arrival, follow, use_live},
    pages::overview::as_of_text,
    words,
};

/// The page of one release.
#[component]
pub fn ReleasePage() -> impl IntoView {
    let params = use_params_map();
    let page = Resource::new_blocking(move || params.read().get("id").unwrap_or_default(), get_release);
    view! {
        <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(loaded) => Either::Left(view! { <Loaded loaded/> }),
                    Err(error) => Either::Right(view! { <Title text="Release"/><ProblemNote error/> }),
                }
            })}
        </Transition>
    }
}

#[component]
fn Loaded(loaded: reads::ReleasePage) -> impl IntoView {
    let now = use_live().now;
    let as_of = loaded.view.as_of;
    let release = loaded.view.row.id.clone();
    let view = RwSignal::new(loaded.view);
    let ticks = RwSignal::new(loaded.ticks);
    follow(Some(as_of), move |arrival| match arrival {
        Arrival::Receipt(receipt) => view.update(|v| v.fold(&receipt)),
        Arrival::Tick(of, tick) if of == release => ticks.update(|all| take_ticks(all, [*tick])),
        Arrival::Tick(..) => {}
        Arrival::Back => fill_gap(view, ticks, now),
    });
    let query = use_query_map();
    let answer = move || {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        view.with(|v| words::answer(v, &get("command"), &get("accepted"), &get("problem")))
    };
    let first = view.with_untracked(|v| v.row.clone());
    let title = move || view.with(|v| format!("{} {}", v.row.service, words::headline(v).plain()));
    let headline = Memo::new(move |_| view.with(words::headline));
    let service_href = words::query("/releases", &[("service", first.service.as_str())]);
    let receipts = Signal::derive(move || view.with(|v| v.receipts.clone()));
    view! {
        <Title text=title/>
        <section class="page release">
            <div class="crumb">
                <A href=service_href>{first.service.to_string()}</A>
                <span>"/"</span>
                <span>{first.environment.to_string()}</span>
                <span class="asof">{move || view.with(|v| as_of_text(Some(v.as_of)))}</span>
            </div>
            <div class="head">
                <div>
                    <Heading>
                        {move || headline.get().before}
                        <span class=move || format!("key {}", headline.get().tone.class())>{move || headline.get().key}</span>
                        {move || headline.get().after}
                    </Heading>
                    <div class="facts">
                        <span class="stage">{move || view.with(|v| words::stage(v, now.get()))}</span>
                        <DigestText digest=first.digest.clone()/>
                        <span>"started by "{first.actor.to_string()}</span>
                        <span title=move || view.with(joules_title)>{move || view.with(joules_text)}</span>
                    </div>
                </div>
                <Controls view/>
            </div>
            {move || answer().map(|(tone, said)| view! { <p class=format!("note {}", tone.class()) role="alert">{said}</p> })}
            <EvidenceLine view/>
            <Clocks view/>
            <Timeline view ticks/>
            <div class="columns">
                <section aria-labelledby="receipts">
                    <h2 id="receipts">"Receipts " <span>{move || receipts.with(Vec::len)}</span></h2>
                    <ReceiptsTable receipts/>
                </section>
                <EnvelopeCard view/>
            </div>
        </section>
    }
}

fn joules_text(v: &ReleaseView) -> String {
    let so_far = if v.row.in_flight() { " so far" } else { "" };
    if v.row.joules.n == 0 { "energy n/a".to_owned() } else { format!("{}{so_far}", say::joules_sum(&v.row.joules)) }
}

fn joules_title(v: &ReleaseView) -> String {
    let j = &v.row.joules;
    if j.n == 0 {
        return "no receipt of this release carries joules".to_owned();
    }
    format!(
        "between {} and {}, summed over {}",
        say::joules(j.low),
        say::joules(j.high),
        say::plural(j.n, "receipt", "receipts")
    )
}

/// Adds ticks in order, each once, and thins them when there are too many to be seen.
fn take_ticks(all: &mut Vec<Tick>, new: impl IntoIterator<Item = Tick>) {
    for tick in new {
        match all.last() {
            Some(last) if tick.at <= last.at => {
                if let Err(place) = all.binary_search_by_key(&tick.at, |t| t.at) {
                    all.insert(place, tick);
                }
            }
            _ => all.push(tick),
        }
    }
    let most = MAX_POINTS as usize * 2;
    if all.len() > most {
        *all = projections::thin(std::mem::take(all), MAX_POINTS as usize);
    }
}

/// After a gap in the stream: the ticks since the last one.
fn fill_gap(view: RwSignal<ReleaseView>, ticks: RwSignal<Vec<Tick>>, now: ReadSignal<model::Timestamp>) {
    let (release, started) = view.with_untracked(|v| (v.row.id.clone(), v.row.started));
    let from = ticks.with_untracked(|t| t.last().map_or(started, |t| t.at));
    leptos::task::spawn_local(async move {
        // The two clocks may differ by some seconds.
        if let Ok(missed) = reads::get_ticks(release, from, now.get_untracked().plus_millis(60_000)).await {
            let _ = ticks.try_update(|all| take_ticks(all, missed));
        }
    });
}
