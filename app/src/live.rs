//! What changes while a page is open: the clock, the stream of receipts and ticks, and what is announced.
//!
//! A page gives its `as_of` and gets every later receipt once, in order, across reconnects: the id of a stream's event is the index
//! in the log. Ticks come without an id; after a gap the page asks for them again by time.

use leptos::prelude::*;
use model::{ReleaseId, Tick, Timestamp};
use projections::Receipt;
use serde::Deserialize;

use crate::api::reads::server_now;

/// Something that arrived.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrival {
    /// A receipt, in the order of the log.
    Receipt(Box<Receipt>),
    /// A second of one release.
    Tick(ReleaseId, Box<Tick>),
    /// The stream is there, for the first time or again: ticks of the time without it are missing.
    Back,
}

/// How the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// This page does not change by itself.
    Off,
    /// Not there yet.
    Connecting,
    /// Everything that happens arrives.
    Live,
    /// Lost a moment ago, being fetched back.
    Reconnecting,
    /// Lost since then: what is shown may be old.
    Stale(Timestamp),
}

/// Silence after which a page says that it is stale: a reconnect usually takes less than half of this.
pub const STALE_AFTER_MS: i64 = 8_000;

/// Silence of a stream that is there after which it counts as lost: the server says at least every five seconds that it is alive, and one that
/// hangs closes nothing.
pub const SILENT_AFTER_MS: i64 = 12_000;

/// Id of the live region.
pub const VOICE: &str = "said";

/// Turns that the live region keeps: each is read out once when it comes, and can be found again.
#[cfg(feature = "hydrate")]
const SAID: usize = 5;

/// The page's clock, stream and voice.
#[derive(Clone, Copy)]
pub struct Live {
    /// Now, by the server's clock; moves once a second in the browser.
    pub now: ReadSignal<Timestamp>,
    /// How the stream is.
    pub stream: RwSignal<Stream>,
    /// True once the browser's code is in charge.
    pub awake: ReadSignal<bool>,
}

/// Set once the browser's code has taken over the whole page, whose part may have come later than the rest.
#[derive(Clone, Default)]
pub(crate) struct Awake(pub(crate) ArcRwSignal<bool>);

/// Data of a `tick` event.
#[derive(Debug, Deserialize)]
struct TickEvent {
    release: ReleaseId,
    tick: Tick,
}

/// What an event of the stream says; `None` when it is not readable, which changes nothing.
pub fn read_event(kind: &str, data: &str) -> Option<Arrival> {
    match kind {
        "receipt" => serde_json::from_str(data).ok().map(|r| Arrival::Receipt(Box::new(r))),
        "tick" => serde_json::from_str::<TickEvent>(data).ok().map(|t| Arrival::Tick(t.release, Box::new(t.tick))),
        _ => None,
    }
}

/// Starts the clock and gives [`Live`] to everything below.
pub fn provide_live() -> Live {
    let start = SharedValue::new(server_now).into_inner();
    let (now, set_now) = signal(start);
    // On the server, and in tests, nobody wakes it.
    let awake = use_context::<Awake>().unwrap_or_default().0.read_only();
    let live = Live { now, stream: RwSignal::new(Stream::Off), awake: ReadSignal::from(awake) };
    provide_context(live);
    Effect::new(move |_| {
        // Not before: what changes while the browser's code takes the page over would not be seen.
        if live.awake.get() {
            #[cfg(feature = "hydrate")]
            browser::run_clock(start, set_now);
        }
    });
    let _ = set_now;
    live
}

/// The page's clock, stream and voice.
pub fn use_live() -> Live {
    use_context::<Live>().unwrap_or_else(provide_live)
}

/// Follows the log from after `as_of` until the page is left. `take` gets what arrives; what it means is announced, on the page of a release only
/// what is about that one.
pub fn follow(as_of: Option<u64>, page_of: Option<ReleaseId>, take: impl Fn(Arrival) + Clone + 'static) {
    let live = use_live();
    Effect::new(move |_| {
        #[cfg(feature = "hydrate")]
        browser::follow(live, as_of, page_of.clone(), take.clone());
        #[cfg(not(feature = "hydrate"))]
        let _ = (live, as_of, &page_of, &take);
    });
}

#[cfg(feature = "hydrate")]
mod browser {
    use std::{cell::Cell, rc::Rc, time::Duration};

    use leptos::{leptos_dom::helpers::IntervalHandle, prelude::*};
    use model::{ReleaseId, Timestamp};
    use wasm_bindgen::{JsCast, closure::Closure};
    use web_sys::{Event, EventSource, MessageEvent};

    use super::{Arrival, Live, SAID, SILENT_AFTER_MS, STALE_AFTER_MS, Stream, VOICE, read_event};

    /// Waits between attempts when the browser has given up by itself, ms.
    const RETRY_MS: [i64; 4] = [1_000, 2_000, 5_000, 10_000];

    /// When the server's answer began to arrive, by this browser's clock: the moment that the server's time in it belongs to.
    /// Loading the code takes seconds on a slow line; without this the page's clock would stay behind by them.
    fn answered_at() -> f64 {
        let get = |of: &wasm_bindgen::JsValue, name: &str| js_sys::Reflect::get(of, &name.into()).ok();
        let performance = window().performance();
        let timing = performance.and_then(|p| get(&p, "timing"));
        let at = timing.and_then(|t| get(&t, "responseStart")).and_then(|v| v.as_f64());
        at.filter(|at| *at > 0.0).unwrap_or_else(js_sys::Date::now)
    }

    pub(super) fn run_clock(start: Timestamp, now: WriteSignal<Timestamp>) {
        let begun = answered_at();
        let turn = move || {
            let at = start.plus_millis((js_sys::Date::now() - begun) as i64);
            now.set(at);
            crate::components::tick(at);
        };
        turn();
        clear_on_cleanup(set_interval_with_handle(turn, Duration::from_secs(1)).ok());
    }

    /// Adds a sentence to the live region, which the page's code leaves alone.
    fn say(words: &str) {
        let Some(voice) = document().get_element_by_id(VOICE) else { return };
        let Ok(sentence) = document().create_element("p") else { return };
        sentence.set_text_content(Some(words));
        if voice.append_child(&sentence).is_ok()
            && voice.child_element_count() as usize > SAID
            && let Some(oldest) = voice.first_element_child()
        {
            oldest.remove();
        }
    }

    fn clear_on_cleanup(handle: Option<IntervalHandle>) {
        if let Some(handle) = handle {
            on_cleanup(move || handle.clear());
        }
    }

    struct Follower {
        live: Live,
        /// Last index taken.
        index: Cell<Option<u64>>,
        /// When something last arrived, ms by the browser's clock: the page's jumps when its code takes over.
        heard: Cell<f64>,
        attempts: Cell<usize>,
        retry_at: Cell<Option<f64>>,
        source: Cell<Option<Source>>,
        /// The release whose page it is.
        page_of: Option<ReleaseId>,
        take: Box<dyn Fn(Arrival)>,
    }

    struct Source {
        events: EventSource,
        _callbacks: [Closure<dyn FnMut(Event)>; 5],
    }
    impl Drop for Source {
        fn drop(&mut self) {
            self.events.close();
        }
    }

    pub(super) fn follow(live: Live, as_of: Option<u64>, page_of: Option<ReleaseId>, take: impl Fn(Arrival) + 'static) {
        let follower = Rc::new(Follower {
            live,
            index: Cell::new(as_of),
            heard: Cell::new(js_sys::Date::now()),
            attempts: Cell::new(0),
            retry_at: Cell::new(None),
            source: Cell::new(None),
            page_of,
            take: Box::new(take),
        });
        live.stream.set(Stream::Connecting);
        follower.clone().open();
        let watched = Rc::downgrade(&follower);
        let handle = set_interval_with_handle(
            move || {
                if let Some(follower) = watched.upgrade() {
                    follower.look();
                }
            },
            Duration::from_secs(1),
        );
        clear_on_cleanup(handle.ok());
        // Owned by the page: when it is left, the stream is closed.
        StoredValue::new_local(follower);
        on_cleanup(move || {
            // The header may be gone already when the whole page goes.
            let _ = live.stream.try_set(Stream::Off);
        });
    }

    impl Follower {
        fn open(self: Rc<Self>) {
            let url = match self.index.get() {
                Some(index) => format!("/events?after={index}"),
                None => "/events".to_owned(),
            };
            let Ok(events) = EventSource::new(&url) else {
                self.was_lost();
                return;
            };
            let on = |act: fn(&Rc<Self>, Event)| {
                let me = Rc::downgrade(&self);
                Closure::<dyn FnMut(Event)>::new(move |event| {
                    if let Some(me) = me.upgrade() {
                        act(&me, event);
                    }
                })
            };
            let callbacks = [
                on(|me, _| me.is_open()),
                on(|me, _| me.was_lost()),
                on(|me, event| me.arrived("receipt", &event)),
                on(|me, event| me.arrived("tick", &event)),
                on(|me, event| me.arrived("alive", &event)),
            ];
            for (name, callback) in ["open", "error", "receipt", "tick", "alive"].into_iter().zip(&callbacks) {
                let _ = events.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref());
            }
            self.source.set(Some(Source { events, _callbacks: callbacks }));
        }

        fn is_open(&self) {
            self.heard.set(js_sys::Date::now());
            self.attempts.set(0);
            self.live.stream.set(Stream::Live);
            // Also the first time: seconds passed between the page being made and the stream being there.
            (self.take)(Arrival::Back);
        }

        fn was_lost(&self) {
            if self.live.stream.get_untracked() != Stream::Reconnecting
                && !matches!(self.live.stream.get_untracked(), Stream::Stale(_))
            {
                self.live.stream.set(Stream::Reconnecting);
            }
            let source = self.source.take();
            let closed = source.as_ref().is_none_or(|s| s.events.ready_state() == EventSource::CLOSED);
            if closed {
                // The browser does not try again after an answer that is no stream: we do.
                let wait = RETRY_MS[self.attempts.get().min(RETRY_MS.len() - 1)] as f64;
                self.attempts.set(self.attempts.get() + 1);
                self.retry_at.set(Some(js_sys::Date::now() + wait));
            } else {
                self.source.set(source);
            }
        }

        fn arrived(&self, kind: &str, event: &Event) {
            self.heard.set(js_sys::Date::now());
            if self.live.stream.get_untracked() != Stream::Live {
                self.live.stream.set(Stream::Live);
            }
            let Some(data) = event.dyn_ref::<MessageEvent>().and_then(|m| m.data().as_string()) else { return };
            let Some(arrival) = read_event(kind, &data) else { return };
            if let Arrival::Receipt(receipt) = &arrival {
                self.index.set(Some(receipt.index));
                if let Some(words) = crate::words::announcement(receipt, self.page_of.as_ref()) {
                    say(&words);
                }
            }
            (self.take)(arrival);
        }

        /// Once a second: say that it is stale, try again.
        fn look(self: Rc<Self>) {
            let now = js_sys::Date::now();
            let silent = (now - self.heard.get()) as i64;
            let stream = self.live.stream.get_untracked();
            let hangs = stream == Stream::Live && silent > SILENT_AFTER_MS;
            if hangs || (stream == Stream::Reconnecting && silent > STALE_AFTER_MS) {
                self.live.stream.set(Stream::Stale(self.live.now.get_untracked().plus_millis(-silent)));
            }
            if hangs {
                self.source.set(None);
                self.retry_at.set(Some(now));
            }
            if self.retry_at.get().is_some_and(|at| now >= at) {
                self.retry_at.set(None);
                self.open();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_or_ignored() {
        let receipt = r#"{"index":7,"payload":{"kind":"delivery.canary.resumed","release":"a-1","time":"2026-05-07T14:06:32.000Z","actor":"dana","cite":[],"reason":"","paused_ms":1,"step":0}}"#;
        assert!(matches!(read_event("receipt", receipt), Some(Arrival::Receipt(r)) if r.index == 7));
        for (kind, data) in [
            ("receipt", "{}"),
            ("receipt", ""),
            ("tick", receipt),
            ("other", receipt),
            ("tick", "null"),
            ("alive", "1"),
        ] {
            assert_eq!(read_event(kind, data), None, "{kind} {data}");
        }
    }
}
