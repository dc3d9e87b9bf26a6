//! One release: where it stands in a sentence, its timeline, what can be done, what it is made of.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};
use maud::html;
use model::{Tick, Timestamp};
use projections::{ReleaseView, say};

use super::{
    clocks::Clocks,
    compare::Compare,
    controls::Controls,
    drawer::{Drawer, opener},
    envelope::EnvelopeCard,
    evidence::EvidenceLine,
    judge::JudgeSection,
    receipts::ReceiptsOf,
    replay::{Past, Replay},
    stages::Stages,
    timeline::Timeline,
};
use crate::{
    api::reads::{self, MAX_POINTS, get_release},
    components::{Heading, ProblemNote, Settle, awaited, digest, room, shown, written},
    live::{Arrival, Stream, follow, use_live},
    pages::overview::as_of_text,
    timeline::Axis,
    words,
};

/// The page of one release.
#[component]
pub fn ReleasePage() -> impl IntoView {
    let params = use_params_map();
    let page = Resource::new_blocking(move || params.read().get("id").unwrap_or_default(), get_release);
    awaited(move || {
        Box::pin(async move {
            match page.await {
                Ok(loaded) => view! { <Loaded loaded/> }.settled(),
                Err(error) => view! { <Title text="Release"/><ProblemNote error/> }.settled(),
            }
        })
    })
}

/// The release as it is now, as it is shown, and what was counted.
#[derive(Clone, Copy)]
struct Page {
    live: RwSignal<ReleaseView>,
    shown: RwSignal<ReleaseView>,
    past: Past,
    ticks: RwSignal<Vec<Tick>>,
}

impl Page {
    fn take(self, receipt: &projections::Receipt) {
        let _ = self.live.try_update(|v| v.fold(receipt));
        if self.past.at.try_get_untracked().flatten().is_none() {
            let _ = self.shown.try_update(|v| v.fold(receipt));
        }
    }
}

#[component]
fn Loaded(loaded: reads::ReleasePage) -> impl IntoView {
    let clock = use_live().now;
    let as_of = loaded.view.as_of;
    let release = loaded.view.row.id.clone();
    let first = loaded.view.row.clone();
    let live = RwSignal::new(loaded.view);
    let past = Past::asked(live);
    let at_then = move |ms: i64| live.with_untracked(|v| v.row.started.plus_millis(ms));
    let shown_at = move |at: Option<i64>| match at {
        Some(ms) => live.with_untracked(|v| v.rewound(at_then(ms))),
        None => live.get_untracked(),
    };
    let view = RwSignal::new(shown_at(past.at.get_untracked()));
    let page = Page { live, shown: view, past, ticks: RwSignal::new(loaded.ticks) };
    Effect::new(move |before: Option<Option<i64>>| {
        let at = past.at.get();
        if before.is_some_and(|before| before != at) {
            view.set(shown_at(at));
        }
        at
    });
    let now = Signal::derive(move || past.at.get().map_or_else(|| clock.get(), at_then));
    let chain = RwSignal::new(loaded.chain);
    let image = first.digest.to_string();
    follow(Some(as_of), move |arrival| match arrival {
        Arrival::Receipt(receipt) => {
            page.take(&receipt);
            if about_image(&receipt, &image, &release) {
                ask_chain(chain, release.to_string());
            }
        }
        Arrival::Tick(of, tick) if of == release => page.ticks.update(|all| take_ticks(all, [*tick])),
        Arrival::Tick(..) => {}
        Arrival::Back => fill_gap(page, clock),
    });
    let stream = use_live().stream;
    let accepted = Callback::new(move |()| {
        if stream.get_untracked() != Stream::Live {
            catch_up(page, stream, 0);
        }
    });
    let whole = Memo::new(move |_| {
        live.with(|v| Axis::of(v, if v.row.in_flight() { clock.get() } else { v.row.ended.unwrap_or_default() }))
    });
    let query = use_query_map();
    let answer = written(move || {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        let said = live.with(|v| words::answer(v, &get("command"), &get("accepted"), &get("problem")));
        html! { @if let Some((tone, said)) = said { p class={ "note " (tone.class()) } role="alert" { (said) } } }
            .into_string()
    });
    let title = written(move || view.with(|v| format!("{} {}", v.row.service, words::headline(v).plain())));
    // Written anew as a whole: it is another sentence then.
    let headline = written(move || {
        let words::Headline { before, key, after, tone } = view.with(words::headline);
        html! { (before) span class={ "key " (tone.class()) } { (key) } (after) }.into_string()
    });
    let as_of_said = written(move || match past.at.get() {
        Some(ms) => {
            format!("as it was at {}, receipt {}", at_then(ms).clock(), say::count(view.with(|v| v.as_of)))
        }
        None => view.with(|v| as_of_text(Some(v.as_of))),
    });
    let stage = written(move || view.with(|v| words::stage(v, now.get())));
    let (joules, joules_about) = (written(move || view.with(joules_text)), written(move || view.with(joules_title)));
    let service_href = words::query("/releases", &[("service", first.service.as_str())]);
    let open = opener();
    view! {
        <Title text=title/>
        <section class="page release" class:past=move || past.at.get().is_some() on:click=open>
            <div class="crumb">
                <a href=service_href>{first.service.to_string()}</a>
                <span>"/"</span>
                <span>{first.environment.to_string()}</span>
                <span class="asof">{as_of_said}</span>
            </div>
            <div class="head">
                <div>
                    <Heading><span inner_html=headline></span></Heading>
                    <div class="facts">
                        <span class="stage">{stage}</span>
                        {shown(digest(&first.digest))}
                        <span>"started by "{first.actor.to_string()}</span>
                        <span title=joules_about>{joules}</span>
                    </div>
                </div>
                <p class="controls" hidden=move || past.at.get().is_none()>"You look back: commands are given in the present."</p>
                <div class="room" hidden=move || past.at.get().is_some()><Controls view=live accepted/></div>
            </div>
            {room(answer)}
            <EvidenceLine view/>
            <Clocks view now/>
            <Timeline view ticks=page.ticks now whole/>
            <JudgeSection view ticks=page.ticks now/>
            <Replay live past/>
            {view! {
                <div class="columns">
                    <div class="stack"><Stages view ticks=page.ticks now/></div>
                    <div class="stack"><EnvelopeCard view/></div>
                </div>
                <p class="mute" hidden=move || past.at.get().is_none()>"What follows about the image is as it is now."</p>
                <div class="chain-room" inner_html=move || chain.get()></div>
            }
            .settled()}
            {view! {
            <div class="columns">
                <div class="stack"><ReceiptsOf view/></div>
                <div class="stack"><Compare view previous=loaded.previous now/></div>
            </div>
            }
            .settled()}
            <Drawer view/>
        </section>
    }
}

/// Whether a receipt tells of the image beside its rollout.
fn about_image(receipt: &projections::Receipt, image: &str, release: &model::ReleaseId) -> bool {
    let p = &receipt.payload;
    let ours = p.release.as_ref() == Some(release) || p.facts.get("subject").and_then(|s| s.as_str()) == Some(image);
    let kind = p.kind.as_str();
    ours && ["build", "attestation", "gates", "promotion", "admission"].iter().any(|word| kind.contains(word))
}

/// Asks the server what it knows of the image by now. Without an answer what was known stays.
fn ask_chain(chain: RwSignal<String>, release: String) {
    leptos::task::spawn_local(async move {
        if let Ok(fresh) = reads::get_chain(release).await {
            let _ = chain.try_set(fresh);
        }
    });
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

/// After a gap in the stream: the ticks since the last one. One that was over before the gap has no more.
fn fill_gap(page: Page, now: ReadSignal<Timestamp>) {
    if !page.live.with_untracked(|v| v.row.in_flight()) {
        return;
    }
    let (release, started) = page.live.with_untracked(|v| (v.row.id.clone(), v.row.started));
    let from = page.ticks.with_untracked(|t| t.last().map_or(started, |t| t.at));
    leptos::task::spawn_local(async move {
        // The two clocks may differ by some seconds.
        if let Ok(missed) = reads::get_ticks(release, from, now.get_untracked().plus_millis(60_000)).await {
            let _ = page.ticks.try_update(|all| take_ticks(all, missed));
        }
    });
}

/// After a command while the stream is down: asks once a second what came of it, until the stream is there again or the release is over.
fn catch_up(page: Page, stream: RwSignal<Stream>, tries: u32) {
    /// Two minutes: an abort is over well before, and the page can be loaded again.
    const TRIES: u32 = 120;
    const EVERY: std::time::Duration = std::time::Duration::from_secs(1);
    let Some(release) = page.live.try_with_untracked(|v| v.row.id.to_string()) else { return };
    leptos::task::spawn_local(async move {
        if let Ok(fresh) = get_release(release).await {
            for receipt in &fresh.view.receipts {
                page.take(receipt);
            }
            let _ = page.ticks.try_update(|all| take_ticks(all, fresh.ticks));
        }
        let over = page.live.try_with_untracked(|v| !v.row.in_flight()).unwrap_or(true);
        let back = stream.try_get_untracked().is_none_or(|s| matches!(s, Stream::Live | Stream::Off));
        if !over && !back && tries < TRIES {
            set_timeout(move || catch_up(page, stream, tries + 1), EVERY);
        }
    });
}
