//! A stretch of the log, verified in the browser, with progress.
//!
//! The arithmetic is in [`receipts::RangeCheck`], which also says what it needs next; here it is fetched, and what came of it is shown. The key
//! is the one that the browser kept at its first visit.

use leptos::prelude::*;
use maud::{Markup, html};
use projections::say;
use receipts::Progress;

use crate::{
    components::{room, written},
    words::Tone,
};

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "made in the browser only"))]
enum State {
    Idle,
    Running(Progress),
    Failed(String),
}

/// The block: which receipts, a button, a bar, the verdict.
#[component]
pub(super) fn RangeCheck(
    /// First and last receipt that are proposed.
    #[prop(into)]
    range: Signal<(u64, u64)>,
) -> impl IntoView {
    let state = RwSignal::new(State::Idle);
    // Counts the checks: who began an older one stops at its next step.
    let turn = StoredValue::new(0_u32);
    // What somebody has typed, from its first character: what is proposed follows the list, and must not write over it.
    let (first, last) = (RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let shown =
        move |typed: RwSignal<Option<String>>, proposed: u64| typed.get().unwrap_or_else(|| proposed.to_string());
    // The form takes digits alone: what is no number then is more than there can be.
    let number = move |typed: RwSignal<Option<String>>, proposed: u64| {
        shown(typed, proposed).trim().parse::<u64>().unwrap_or(u64::MAX)
    };
    let start = move |ev: leptos::ev::SubmitEvent| {
        ev.prevent_default();
        let proposed = range.get_untracked();
        let (first, last) = (number(first, proposed.0), number(last, proposed.1));
        turn.update_value(|turn| *turn = turn.wrapping_add(1));
        state.set(State::Running(Progress::default()));
        #[cfg(feature = "hydrate")]
        browser::check(first, last, state, turn);
        #[cfg(not(feature = "hydrate"))]
        let _ = (first, last);
    };
    let stop = move |_| {
        turn.update_value(|turn| *turn = turn.wrapping_add(1));
        state.set(State::Idle);
    };
    let running = move || state.with(|state| matches!(state, State::Running(p) if !p.ended));
    let said = written(move || {
        state.with(|state| match state {
            State::Idle => String::new(),
            State::Failed(why) => {
                html! { p.state.unknown role="status" { "Could not be checked: " (why) } }.into_string()
            }
            State::Running(progress) => of_progress(progress).into_string(),
        })
    });
    view! {
        <section class="range" aria-labelledby="verify">
            <h2 id="verify">"Verify a range "<span>"in this browser"</span></h2>
            <form class="filters woken" on:submit=start>
                <label>"From "
                    <input inputmode="numeric" pattern="[0-9]+" maxlength="20" required prop:value=move || shown(first, range.get().0)
                        on:input=move |e| first.set(Some(event_target_value(&e)))/>
                </label>
                <label>"to "
                    <input inputmode="numeric" pattern="[0-9]+" maxlength="20" required prop:value=move || shown(last, range.get().1)
                        on:input=move |e| last.set(Some(event_target_value(&e)))/>
                </label>
                <button type="submit" disabled=running>"Verify"</button>
                <button type="button" hidden=move || !running() on:click=stop>"Stop"</button>
            </form>
            <p class="none unaided">"This needs JavaScript. In a terminal: "<code>"deliveryos log verify"</code></p>
            {room(said)}
        </section>
    }
}

fn of_progress(progress: &Progress) -> Markup {
    let &Progress { first, end, done, bytes, ref head, goes_on, ended, ref refused } = progress;
    let of = end.saturating_sub(first);
    let (tone, said) = match (refused, ended) {
        (Some(why), _) => (Tone::Bad, format!("Refused: {why}")),
        (None, true) => (
            Tone::Good,
            format!(
                "Receipts {} to {} hold: {} signed, hashed and in the tree",
                say::count(first),
                say::count(end.saturating_sub(1)),
                say::plural(done, "receipt", "receipts")
            ),
        ),
        (None, false) => (Tone::Run, format!("{} of {} receipts", say::count(done), say::count(of))),
    };
    let covered = head.as_ref().map(|head| {
        let goes_on = if goes_on { "; it goes on from the log that this browser saw last" } else { "" };
        format!(
            "Whole bundles of 256 are read and checked, against the signed checkpoint over {}{goes_on}. {} kB read.",
            say::plural(head.size, "receipt", "receipts"),
            say::count(bytes / 1000)
        )
    });
    // A verdict is announced, its progress is not.
    html! {
        progress max=(of.max(1)) value=(done) aria-label="Receipts verified" {}
        p class={ "verdict state " (tone.class()) } role=[ended.then_some("status")] { (said) }
        p.mute { @if let Some(covered) = covered { (covered) } }
        @if let Some(head) = head.as_ref().filter(|_| ended) { p.mute { "Root " code.hash { (head.root.to_string()) } } }
    }
}

#[cfg(feature = "hydrate")]
pub(crate) mod browser {
    use leptos::{prelude::*, task::spawn_local};
    use receipts::{Progress, RangeCheck, Seen};
    use wasm_bindgen::JsValue;
    use wasm_bindgen_futures::JsFuture;

    use super::State;
    use crate::{
        api::{page::read, settings::get_settings},
        parts::{begin_range, go_on},
        verifier::{NOT_THERE, fetched, pause},
    };

    /// How long is worked before the page may live.
    const TURN_MS: f64 = 16.0;

    /// The stretch that is to be checked; see [`RangeCheck::new`].
    pub(crate) struct Asked {
        vkey: String,
        seen: Option<Seen>,
        first: u64,
        last: u64,
    }

    /// A check between two pieces of work. Only the part `check` looks inside.
    pub(crate) struct Turn {
        check: Box<RangeCheck>,
        wanted: Option<String>,
        progress: Progress,
    }

    impl Turn {
        pub(crate) fn begin(Asked { vkey, seen, first, last }: Asked) -> Result<Self, String> {
            Ok(Self::of(Box::new(RangeCheck::new(&vkey, seen, first, last)?)))
        }

        pub(crate) fn go_on(mut self, fetched: Option<Vec<u8>>) -> Self {
            if let Some(bytes) = fetched {
                self.check.feed(&bytes);
            }
            let until = js_sys::Date::now() + TURN_MS;
            while self.check.work() && js_sys::Date::now() < until {}
            Self::of(self.check)
        }

        fn of(check: Box<RangeCheck>) -> Self {
            Self { wanted: check.wanted(), progress: check.progress().clone(), check }
        }
    }

    /// What of the settings is needed here.
    #[derive(serde::Deserialize)]
    struct Stated {
        vkey: String,
    }

    /// Where a browser keeps key and last head: what the check of one receipt kept holds here, and the other way round.
    const KEY: &str = "deliveryos.log.vkey";
    const HEAD: &str = "deliveryos.log.head";

    pub(super) fn check(first: u64, last: u64, state: RwSignal<State>, turn: StoredValue<u32>) {
        let mine = turn.get_value();
        spawn_local(async move {
            if let Err(why) = checked(first, last, state, turn, mine).await
                && turn.try_get_value() == Some(mine)
            {
                let _ = state.try_set(State::Failed(why));
            }
        });
    }

    async fn checked(
        first: u64,
        last: u64,
        state: RwSignal<State>,
        turn: StoredValue<u32>,
        mine: u32,
    ) -> Result<(), String> {
        let storage = window().local_storage().ok().flatten();
        let stored = |name: &str| storage.as_ref().and_then(|s| s.get_item(name).ok().flatten());
        let (vkey, pinned_now) = match stored(KEY) {
            Some(kept) => (kept, false),
            None => {
                let stated = get_settings().await.and_then(|text| read::<Stated>(&text));
                (stated.map_err(|e| e.to_string())?.vkey, true)
            }
        };
        let seen: Option<Seen> = stored(HEAD).and_then(|text| serde_json::from_str(&text).ok());
        let asked = Asked { vkey: vkey.clone(), seen, first, last };
        let mut range = begin_range(asked).await.unwrap_or_else(|_| Err(NOT_THERE.to_owned()))?;
        loop {
            let bytes = match &range.wanted {
                Some(path) => {
                    let bytes = JsFuture::from(fetched(path)).await.map_err(|e| said(&e))?;
                    Some(js_sys::Uint8Array::from(bytes).to_vec())
                }
                None => None,
            };
            range = go_on(range, bytes).await.map_err(|_| NOT_THERE.to_owned())?;
            pause().await;
            let progress = range.progress.clone();
            if turn.try_get_value() != Some(mine) {
                return Ok(());
            }
            let ended = progress.ended;
            if ended
                && progress.refused.is_none()
                && let (Some(storage), Some(head)) = (&storage, progress.head)
            {
                // Only what holds is remembered, and only a longer log replaces a shorter one.
                if pinned_now {
                    let _ = storage.set_item(KEY, &vkey);
                }
                if seen.is_none_or(|seen| head.size > seen.size)
                    && let Ok(text) = serde_json::to_string(&head)
                {
                    let _ = storage.set_item(HEAD, &text);
                }
            }
            let _ = state.try_set(State::Running(progress));
            if ended {
                return Ok(());
            }
        }
    }

    fn said(e: &JsValue) -> String {
        let message = js_sys::Reflect::get(e, &JsValue::from_str("message")).ok().and_then(|m| m.as_string());
        message.or_else(|| e.as_string()).unwrap_or_else(|| "the server did not answer".to_owned())
    }
}
