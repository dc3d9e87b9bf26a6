//! Overview: what waits for a person, what is under way, what was.

use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use model::{Kind, ReleaseId, Tick};
use projections::{ReleaseRow, say};

use super::releases::ReleaseTable;
use crate::{
    api::{
        metrics::get_tiles,
        reads::{self, get_overview},
    },
    components::{Heading, MetricTile, ProblemNote, Settle, State, WeightBar},
    live::{Arrival, follow, use_live},
    words::{self, Tone},
};

/// The first page.
#[component]
pub fn OverviewPage() -> impl IntoView {
    let page = Resource::new_blocking(|| (), |()| get_overview());
    view! {
        <Title text="Overview"/>
        <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(loaded) => view! { <Loaded loaded refresh=move || page.refetch()/> }.settled(),
                    Err(error) => view! { <ProblemNote error/> }.settled(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Loaded(loaded: reads::OverviewPage, refresh: impl Fn() + Clone + 'static) -> impl IntoView {
    let as_of = loaded.overview.as_of;
    let overview = RwSignal::new(loaded.overview);
    let latest = RwSignal::new(loaded.latest);
    let metrics = RwSignal::new(loaded.metrics.tiles);
    follow(as_of, move |arrival| match arrival {
        Arrival::Receipt(receipt) => {
            let mut unknown = false;
            overview.update(|o| unknown = o.fold(&receipt));
            if unknown {
                refresh();
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
    let waiting = move || overview.with(|o| o.waiting.clone());
    let flying = Memo::new(move |_| overview.with(|o| o.in_flight.iter().map(|r| r.id.clone()).collect::<Vec<_>>()));
    let recent = Signal::derive(move || overview.with(|o| o.recent.clone()));
    let empty = move || overview.with(|o| o.in_flight.is_empty() && o.recent.is_empty());
    view! {
        <section class="page overview">
            <Heading class="sr">"Overview"</Heading>
            <section aria-labelledby="waits">
                <h2 id="waits">"Waits for you " <span>{move || waiting().len()}</span></h2>
                {move || {
                    let rows = waiting();
                    if rows.is_empty() {
                        Either::Left(view! { <p class="row none">"Nothing waits for a decision."</p> })
                    } else {
                        Either::Right(rows.into_iter().map(|row| view! { <Waiting row/> }).collect_view())
                    }
                }}
            </section>
            <section aria-labelledby="flying">
                <h2 id="flying">"Rolling out now " <span>{move || flying.with(Vec::len)}</span></h2>
                <For each=move || flying.get() key=Clone::clone let:id>
                    <Flying id overview latest/>
                </For>
                {move || {
                    flying.with(Vec::is_empty).then(|| view! { <p class="row none">"No release is under way."</p> })
                }}
            </section>
            <section class="metrics" aria-labelledby="metrics">
                <h2 id="metrics">
                    {format!("Last {} days ", dora::DAYS)}
                    <span>"all services, all environments · "<a class="door" href="/dora/deployments">"definitions"</a></span>
                </h2>
                <div class="tiles">
                    {move || metrics.get().into_iter().map(|tile| view! { <MetricTile tile/> }).collect_view()}
                </div>
            </section>
            <section aria-labelledby="recent">
                <h2 id="recent">"Releases " <span><a class="door" href="/releases">"all"</a></span></h2>
                {move || {
                    if empty() {
                        Either::Left(view! { <FirstSteps/> })
                    } else {
                        Either::Right(view! { <ReleaseTable rows=recent/> })
                    }
                }}
            </section>
            <p class="asof">{move || overview.with(|o| as_of_text(o.as_of))}</p>
        </section>
    }
}

/// `as of receipt 18,204`.
pub(super) fn as_of_text(as_of: Option<u64>) -> String {
    as_of.map_or_else(|| "the log is empty".to_owned(), |i| format!("as of receipt {}", say::count(i)))
}

#[component]
fn Waiting(row: ReleaseRow) -> impl IntoView {
    let href = format!("/releases/{}", row.id);
    let why = words::waits_because(&row);
    view! {
        <div class="row waiting">
            <State tone=Tone::Wait word="held"/>
            <span class="who"><b>{row.service.to_string()}</b>" "{row.version.to_string()}</span>
            <span class="say">{why}</span>
            <a class="button" href=href>"Look"</a>
        </div>
    }
}

#[component]
fn Flying(
    id: ReleaseId,
    overview: RwSignal<projections::Overview>,
    latest: RwSignal<Vec<(ReleaseId, Tick)>>,
) -> impl IntoView {
    let now = use_live().now;
    let href = format!("/releases/{id}");
    let tick_of = id.clone();
    let row = Memo::new(move |_| overview.with(|o| o.in_flight.iter().find(|r| r.id == id).cloned()));
    let tick = Memo::new(move |_| latest.with(|all| all.iter().find(|(id, _)| *id == tick_of).map(|(_, t)| t.clone())));
    let p99 = move || {
        let canary = tick.with(|t| t.as_ref()?.canary.as_ref()?.p99_ms).map_or_else(|| "n/a".to_owned(), say::latency);
        let stable = tick.with(|t| t.as_ref()?.stable.p99_ms).map_or_else(|| "n/a".to_owned(), say::latency);
        view! { "p99 " <b>{canary}</b> " : " {stable} " ms" }
    };
    let errors = move || {
        let share = tick.with(|t| t.as_ref().and_then(|t| t.canary.as_ref()).and_then(|c| say::share(c.errors, c.n)));
        view! { "5xx " <b>{share.map_or_else(|| "n/a".to_owned(), say::ratio)}</b> }
    };
    move || {
        row.get().map(|row| {
            let (tone, _) = words::state(&row);
            let clocked = row.clone();
            view! {
                <a class=format!("row flying {}", tone.class()) href=href.clone()>
                    <span class="who"><b>{row.service.to_string()}</b>" "{row.version.to_string()}</span>
                    <WeightBar weight=row.weight stops=row.stops.clone() tone/>
                    <span class="num">{row.weight.to_string()}</span>
                    <span class="cmp">{p99}</span>
                    <span class="cmp">{errors}</span>
                    <span class="clock">{move || words::clock(&clocked, now.get())}</span>
                </a>
            }
        })
    }
}

/// An empty log says how to fill it.
#[component]
fn FirstSteps() -> impl IntoView {
    view! {
        <div class="first">
            <p>"No release yet. Watch one on this machine:"</p>
            <pre><code>"deliveryos demo"</code></pre>
            <p>"or start your own, with the service named in the configuration:"</p>
            <pre><code>"deliveryos release start SERVICE VERSION --recipe recipe.yaml"</code></pre>
        </div>
    }
}
