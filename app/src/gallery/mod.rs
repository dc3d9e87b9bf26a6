//! Every part of the pages in every state, on one page that no other page leads to. Made on the server only: what it shows is made
//! up, and the browser's code does not carry it.

mod chains;
mod samples;

use leptos::prelude::*;
use leptos_router::components::Router;
use maud::html;
use model::Weight;

use self::samples::Sample;
use crate::{
    api::{ApiError, reads::Session},
    components::{ProblemLine, digest, shown, state, weight_bar},
    pages::{overview_sample, release_chain, release_sample},
    verifier::{Head, History},
    words::Tone,
};

/// A made-up release.
#[cfg(test)]
pub(crate) fn sample_view() -> projections::ReleaseView {
    samples::all().remove(1).view
}

/// A second in which the canary answered 5 requests of 20.
#[cfg(test)]
pub(crate) const SECOND: &str = r#"{"seq":1,"boot":"a","at":"1970-01-01T00:00:00.000Z","weight":25,"epoch":1,
    "stable":{"n":15,"errors":0,"p99_ms":202.4},"canary":{"n":5,"errors":1,"p99_ms":208.0}}"#;

/// The page.
pub fn gallery(options: LeptosOptions) -> impl IntoView {
    leptos_meta::provide_meta_context();
    let styles = format!("/{}/{}.css", options.site_pkg_dir, options.output_name);
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <title>"Gallery · DeliveryOS"</title>
                <link rel="icon" type="image/svg+xml" href="/favicon.svg"/>
                <link rel="stylesheet" href=styles/>
            </head>
            <body>
                <Router>
                    <main id="main"><Parts/></main>
                </Router>
            </body>
        </html>
    }
}

#[component]
fn Parts() -> impl IntoView {
    view! {
        <section class="page gallery">
            <h1>"Gallery"</h1>
            <p class="note wait">"Samples: every value on this page is made up, so that each part can be looked at in each of its states."</p>
            <Small/>
            <Problems/>
            <Lists/>
            {chains::all().into_iter().map(|(name, view, about, order)| {
                view! { <Part name><div class="chain-room" inner_html=release_chain::known(&view, &about, &order).section></div></Part> }
            }).collect_view()}
            {samples::all().into_iter().map(|sample| view! { <Whole sample/> }).collect_view()}
        </section>
    }
}

/// A part with its name.
#[component]
fn Part(name: &'static str, children: Children) -> impl IntoView {
    view! { <section class="part" aria-label=name><h2>{name}</h2><div class="part-of">{children()}</div></section> }
}

#[component]
fn Small() -> impl IntoView {
    let tones = [
        (Tone::Run, "going on"),
        (Tone::Wait, "held"),
        (Tone::Good, "holds"),
        (Tone::Bad, "refused"),
        (Tone::Back, "rolled back"),
        (Tone::Unknown, "not known"),
        (Tone::Estimated, "estimated"),
    ];
    let weight = |w: u8| Weight::new(w).unwrap_or_default();
    let stops = [5, 25, 50, 100].map(weight).to_vec();
    view! {
        <Part name="States: word, shape and colour">
            {shown(html! { @for (tone, word) in tones { (state(tone, word)) } })}
        </Part>
        <Part name="Stream">
            {["live", "connecting", "reconnecting", "stale"].map(|s| {
                let said = if s == "stale" { "stale since 14:02:11" } else { s };
                view! { <span class=format!("stream {s}")>{said}</span> }
            }).collect_view()}
        </Part>
        <Part name="Buttons">
            <button type="button">"Plain"</button>
            <button type="button" class="promote">"Promote"</button>
            <button type="button" class="confirm abort">"Abort now"</button>
            <button type="button" disabled title="Not now: it is paused already">"Not now"</button>
            <button type="button" class="small">"Small"</button>
            <a class="button" href="#main">"A link"</a>
        </Part>
        <Part name="Fields">
            <label>"Text " <input name="sample" value="what was typed" autocomplete="off"/></label>
            <label>"One of " <select name="one"><option>"all"</option><option>"some"</option></select></label>
            <span class="chips"><a class="chip on" href="#main">"chosen"</a><a class="chip" href="#main">"not chosen"</a></span>
        </Part>
        <Part name="Digest">
            {shown(digest(&model::Digest::from_sha256(&[0x4f; 32])))}
        </Part>
        <Part name="Weight">
            {[(5, Tone::Run), (50, Tone::Run), (25, Tone::Wait), (0, Tone::Bad), (100, Tone::Run)].map(|(w, tone)| {
                view! { <div class="bar-room">{shown(weight_bar(weight(w), &stops, tone))}</div> }
            }).collect_view()}
        </Part>
        <Part name="Notes">
            <p class="note ok">"Pause: accepted, receipt 18,204"</p>
            <p class="note bad">"Resume was not done: it is not paused"</p>
            <p class="note unknown">"Pause was not done: it could not be written down, so nothing was done"</p>
        </Part>
    }
}

#[component]
fn Problems() -> impl IntoView {
    let errors = [
        ApiError::NotLoggedIn,
        ApiError::Forbidden("dana".to_owned()),
        ApiError::NotFound("release checkout-99".to_owned()),
        ApiError::Unavailable("the store could not be read: the disk is full".to_owned()),
    ];
    let head =
        |size| Head { size, root: tlog::empty_root(), at: Some(model::Timestamp::from_millis(1_778_162_792_000)) };
    let histories = [
        History::First,
        History::Same(head(18_204)),
        History::Grown(head(18_204)),
        History::Older(head(18_204)),
        History::RolledBack(head(18_204), 17_000),
        History::Forked(head(18_204), 18_300),
        History::Unknown("the server did not answer".to_owned()),
    ];
    view! {
        <Part name="Why there is nothing to show">
            {errors.map(|error| view! { <ProblemLine error/> }).collect_view()}
        </Part>
        <Part name="The log of now and the log seen before">
            {histories.map(|h| {
                let (tone, said, means) = h.said();
                view! { <p class=format!("note {}", tone.class())><b>{said}</b>" "{means}</p> }
            }).collect_view()}
        </Part>
    }
}

/// The parts of the overview and of lists.
#[component]
fn Lists() -> impl IntoView {
    let all = samples::all();
    let named = |name: &str| all.iter().find(|sample| sample.name == name);
    let parts = named("held by a person").zip(named("climbing")).and_then(|(held, climbs)| {
        let tick = climbs.ticks.last()?;
        Some(overview_sample(&held.view.row, &climbs.view.row, tick, climbs.now))
    });
    view! { <Part name="What waits, what is under way, and lists">{parts.map(shown)}</Part> }
}

/// A release's parts in one of its states.
#[component]
fn Whole(sample: Sample) -> impl IntoView {
    let Sample { name, view, ticks, now } = sample;
    let parts = release_sample(view, ticks, session(), now);
    view! {
        <section class="part whole release" aria-label=name>
            <h2>{name}</h2>
            <div class="room" inner_html=parts></div>
        </section>
    }
}

fn session() -> Session {
    Session {
        actor: samples::actor().map(|a| a.to_string()).unwrap_or_default(),
        role: "admin".to_owned(),
        commands: true,
        form_token: String::new(),
    }
}
