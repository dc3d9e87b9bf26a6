//! Looking back: the whole page as it was at a moment of a release that is over, folded again from its receipts.

use std::time::Duration;

use leptos::{ev, prelude::*};
use leptos_router::hooks::use_query_map;
use projections::{ReleaseView, say};

use crate::components::use_rest;

/// A whole release passes in so many steps, one every [`STEP`].
const STEPS: i64 = 100;
/// Time between two steps: 12 s for a release.
const STEP: Duration = Duration::from_millis(120);

/// What is looked back at, ms since the start; `None` is the present.
#[derive(Clone, Copy)]
pub struct Past {
    /// The moment.
    pub at: RwSignal<Option<i64>>,
}

impl Past {
    /// What the page's address asks for; only what is over can be looked back at.
    pub fn asked(live: RwSignal<ReleaseView>) -> Self {
        let query = use_query_map();
        let seconds = query.read_untracked().get("at").and_then(|s| s.parse::<i64>().ok());
        let length = live.with_untracked(length);
        let at = seconds.and_then(|s| s.checked_mul(1000)).filter(|ms| (0..length).contains(ms));
        Self { at: RwSignal::new(at) }
    }
}

/// How long it took, ms; 0 while it is under way.
fn length(v: &ReleaseView) -> i64 {
    v.row.ended.map_or(0, |end| end.since(v.row.started).max(0))
}

/// Whole seconds, none cut off.
fn up(ms: i64) -> i64 {
    ms.saturating_add(999) / 1000
}

/// Play, a slider, and the way back to the end.
#[component]
pub fn Replay(
    /// The release as it is now.
    live: RwSignal<ReleaseView>,
    /// What is looked back at.
    past: Past,
) -> impl IntoView {
    let over = Memo::new(move |_| live.with(length));
    let playing = RwSignal::new(false);
    let rest = use_rest();
    let go = Callback::new(move |at: Option<i64>| {
        let at = at.filter(|ms| *ms < over.get_untracked());
        past.at.set(at);
        rest(vec![("at", at.map(|ms| (ms / 1000).to_string()))]);
    });
    play(playing, past, over, go);
    let begin = move |_| {
        if past.at.get_untracked().is_none() {
            go.run(Some(0));
        }
        playing.update(|p| *p = !*p);
    };
    let scrub = move |e: ev::Event| {
        playing.set(false);
        go.run(event_target_value(&e).parse::<i64>().ok().map(|s| s * 1000));
    };
    let seconds = move || up(past.at.get().unwrap_or_else(|| over.get())).to_string();
    view! {
        <Show when=move || over.get().is_positive()>
            <form class="replay" method="get" on:submit=|e| e.prevent_default()>
                <button type="submit" class="play" on:click=begin aria-pressed=move || playing.get().to_string()>
                    {move || if playing.get() { "Hold" } else { "Replay" }}
                </button>
                <input
                    type="range"
                    name="at"
                    min="0"
                    max=move || up(over.get()).to_string()
                    step="1"
                    aria-label="Look back at"
                    aria-valuetext=move || format!("{} of {}", say::axis(past.at.get().unwrap_or_else(|| over.get())), say::axis(over.get()))
                    value=seconds()
                    prop:value=seconds
                    on:input=scrub
                />
                <span class="mute at">{move || format!("{} of {}", say::axis(past.at.get().unwrap_or_else(|| over.get())), say::axis(over.get()))}</span>
                <button type="button" disabled=move || past.at.get().is_none() on:click=move |_| { playing.set(false); go.run(None) }>"To the end"</button>
            </form>
        </Show>
    }
}

/// Moves the moment on while it plays.
fn play(playing: RwSignal<bool>, past: Past, over: Memo<i64>, go: Callback<Option<i64>>) {
    Effect::new(move |_| {
        if !playing.get() {
            return;
        }
        let step = move || match past.at.get_untracked() {
            Some(at) => {
                let next = at + (over.get_untracked() / STEPS).max(1);
                go.run(Some(next));
                if next >= over.get_untracked() {
                    playing.set(false);
                }
            }
            None => playing.set(false),
        };
        if let Ok(handle) = set_interval_with_handle(step, STEP) {
            on_cleanup(move || handle.clear());
        }
    });
}
