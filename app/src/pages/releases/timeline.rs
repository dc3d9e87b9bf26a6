//! The timeline on the page: two drawings on one axis with one cursor and one zoom, and the same in rows.

use leptos::{ev, html, prelude::*};
use leptos_router::hooks::use_query_map;
use model::{Tick, Timestamp};
use projections::{ReleaseView, say};

use crate::{
    api::reads,
    components::{Settle, room, typing, use_rest, written},
    timeline::{self, Axis, HEIGHT, LEFT, RIGHT, Reading, TableRow, WIDTH, Zoom},
};

/// Where the cursor is: a moment, and the receipt that it was brought to, if it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    at: Timestamp,
    receipt: Option<u64>,
    /// Stays when the pointer leaves.
    kept: bool,
}

/// What the parts of the timeline share.
#[derive(Clone, Copy)]
struct Shared {
    view: RwSignal<ReleaseView>,
    /// The whole axis, and the part of it that is shown.
    whole: Memo<Axis>,
    axis: Memo<Axis>,
    zoom: RwSignal<Option<Zoom>>,
    /// Shows a part of the axis.
    show: Callback<Option<Zoom>>,
    cursor: RwSignal<Option<Cursor>>,
    /// From where to where somebody drags, as shares of the width.
    brush: RwSignal<Option<(f64, f64)>>,
    reading: Memo<Reading>,
}

/// The drawings and their table.
#[component]
pub fn Timeline(
    /// The release as it is shown.
    view: RwSignal<ReleaseView>,
    /// Its ticks.
    ticks: RwSignal<Vec<Tick>>,
    /// The moment that is shown: now, or one that is looked back at.
    now: Signal<Timestamp>,
    /// The axis of the whole release.
    whole: Memo<Axis>,
) -> impl IntoView {
    let query = use_query_map();
    let asked = |name| query.read_untracked().get(name).unwrap_or_default();
    let zoom = RwSignal::new(Zoom::read(&asked("from"), &asked("to"), whole.get_untracked()));
    let rest = use_rest();
    let show = Callback::new(move |part: Option<Zoom>| {
        zoom.set(part);
        let (from, to) = part.map(Zoom::write).unzip();
        rest(vec![("from", from), ("to", to)]);
    });
    let fine = finer(view, zoom, whole);
    let axis = Memo::new(move |_| Axis { until: now.get().min(whole.get().until), ..whole.get() }.zoomed(zoom.get()));
    let points = Memo::new(move |_| {
        let axis = axis.get();
        let part = zoom.get();
        let shown = |t: &[Tick]| {
            let until = t.partition_point(|t| t.at <= axis.until.plus_millis(1_000));
            let seen = t.get(..until).unwrap_or_default();
            timeline::points(seen, judge::Threshold::default().p99_increase, axis.grain())
        };
        fine.with(|fine| match fine {
            Some((of, ticks)) if Some(*of) == part => shown(ticks),
            _ => ticks.with(|t| shown(t)),
        })
    });
    let drawing = written(move || view.with(|v| points.with(|p| timeline::chart(v, p, axis.get()))));
    // Its axis ends at the same place from second to second, so the links keep the focus.
    let placed = Memo::new(move |_| axis.with(|a| (a.origin, a.start, a.span)));
    let marks = written(move || {
        let (origin, start, span) = placed.get();
        view.with(|v| timeline::marks(v, Axis { origin, start, span, until: start }))
    });
    let cursor = RwSignal::new(None::<Cursor>);
    let reading = Memo::new(move |_| {
        let axis = axis.get();
        let (at, receipt) = cursor.get().map_or((axis.until, None), |c| (c.at, c.receipt));
        view.with(|v| points.with(|p| timeline::reading(v, p, axis, at, receipt)))
    });
    let shared = Shared { view, whole, axis, zoom, show, cursor, brush: RwSignal::new(None), reading };
    // The rows are on the page from the start, for readers without a script; afterwards they follow only while they are open.
    let open = RwSignal::new(false);
    let rows = Memo::new(move |before: Option<&String>| match before {
        Some(before) if !open.get() => before.clone(),
        _ => points.with(|p| table(&timeline::table(p, axis.get()), axis.get())),
    });
    let twin = NodeRef::<html::Details>::new();
    view! {
        <section class="timeline" aria-label="Timeline">
            {reading_line(shared)}
            {drawings(shared, drawing, marks)}
            <details class="twin" node_ref=twin on:toggle=move |_| open.set(twin.get_untracked().is_some_and(|d| d.open()))>
                <summary>"The same in rows"</summary>
                {room(rows)}
            </details>
        </section>
    }
    .settled()
}

fn table(rows: &[TableRow], axis: Axis) -> String {
    maud::html! {
        div.wide tabindex="0" role="region" aria-label="Values of the timeline" {
            table {
                caption.sr { "Values of the timeline, newest first" }
                thead {
                    tr {
                        th { "Since start" }
                        th { "UTC" }
                        th.n { "Weight" }
                        th.n { "p99 canary, ms" }
                        th.n { "p99 stable, ms" }
                        th.n { "limit, ms" }
                        th.n { "5xx canary, 10 s" }
                        th.n { "5xx stable, 10 s" }
                        th.n { "burn fast, slow" }
                        th.n { "canary requests" }
                    }
                }
                tbody {
                    @for r in rows {
                        tr {
                            td { (r.since) }
                            td { (r.at.clock()) }
                            @for value in [&r.weight, &r.canary_p99, &r.stable_p99, &r.limit, &r.canary_errors, &r.stable_errors, &r.burn, &r.canary_n] {
                                td.n { (value) }
                            }
                        }
                    }
                }
            }
        }
        p.mute { (band_note(axis)) }
    }
    .into_string()
}

/// What the lanes say at the cursor, and the zoom's buttons. Its room is reserved: nothing moves when the cursor does.
fn reading_line(shared: Shared) -> AnyView {
    let Shared { view, reading, cursor, zoom, whole, .. } = shared;
    let button = move |factor: f64| move |_| shared.show.run(resized(shared, factor));
    let (closer, wider, all) = (button(0.5), button(2.0), button(f64::INFINITY));
    let said = written(move || {
        let place = match cursor.get() {
            Some(_) => "at",
            None if shared.axis.get().until < whole.get().until => "then",
            None if view.with(|v| v.row.in_flight()) => "now",
            None => "end",
        };
        reading.with(|r| said_at(place, r))
    });
    let unzoomed = Signal::derive(move || zoom.get().is_none());
    let closest = Signal::derive(move || whole.with(|a| a.span <= Zoom::LEAST));
    view! {
        <div class="tl-read">
            {room(said)}
            <div class="tl-zoom" role="group" aria-label="Zoom">
                <button type="button" on:click=wider aria-label="Show more of the time" title="Wider (−)" disabled=unzoomed>"−"</button>
                <button type="button" on:click=closer aria-label="Show less of the time" title="Closer (+)" disabled=closest>"+"</button>
                <button type="button" class="all" on:click=all title="All of it (0)" disabled=unzoomed>"All"</button>
            </div>
        </div>
    }
    .settled()
}

fn said_at(place: &str, r: &Reading) -> String {
    maud::html! {
        dl {
            div { dt { (place) } dd.since { (r.since) " " span.mute { (r.at.clock()) } } }
            div { dt { "weight" } dd.w4 { (r.weight) } }
            div { dt { "p99" } dd.w6.over[r.slow] { (r.canary_p99) } }
            div { dt { "stable" } dd.w6 { (r.stable_p99) } }
            div { dt { "limit" } dd.w9 { (r.limit) } }
            div { dt { "5xx" } dd.w6 { (r.errors) } }
            div { dt { "burn" } dd.w13 { (r.burn) } }
            div.last {
                dt { "receipt" }
                dd {
                    @if let Some((i, said)) = &r.receipt {
                        a.door href={ "/receipts/" (i) } { (say::count(*i)) " " span.mute { (said) } }
                    }
                }
            }
        }
    }
    .into_string()
}

fn drawings(shared: Shared, drawing: Memo<String>, marks: Memo<String>) -> AnyView {
    let Shared { axis, cursor, brush, show, .. } = shared;
    let box_ref = NodeRef::<html::Div>::new();
    let width = NodeRef::<html::Div>::new();
    // On a narrow screen the drawing is wider than the page: it begins where now is.
    Effect::new(move |_| {
        if let Some(scroll) = box_ref.get()
            && scroll.scroll_width() > scroll.client_width()
        {
            let now = f64::from(scroll.scroll_width()) * axis.get_untracked().share_of_width()
                - f64::from(scroll.client_width()) * 0.6;
            scroll.set_scroll_left(now.max(0.0) as i32);
        }
    });
    let share = move |x: i32| width.get_untracked().map(|w| share_of(&w, x));
    let moved = move |e: ev::PointerEvent| {
        let Some(share) = share(e.client_x()) else { return };
        let dragged = brush.get_untracked();
        if let Some((from, _)) = dragged {
            brush.set(Some((from, share)));
        }
        if dragged.is_some() || cursor.get_untracked().is_none_or(|c| !c.kept) {
            let at = axis.get_untracked().time_at(share);
            cursor.set(Some(Cursor { at, receipt: None, kept: false }));
        }
    };
    let pressed = move |e: ev::PointerEvent| {
        // A finger scrolls; a mouse draws the part to show.
        if e.pointer_type() == "mouse" && e.button() == 0 {
            brush.set(share(e.client_x()).map(|s| (s, s)));
        }
    };
    let released = move |e: ev::PointerEvent| {
        /// Below this it was a click.
        const LEAST: f64 = 0.01;
        let dragged = brush.try_update(Option::take).flatten();
        let axis = axis.get_untracked();
        match dragged {
            Some((a, b)) if (a - b).abs() > LEAST => {
                let edge = |share: f64| axis.since(axis.time_at(share));
                show.run(Zoom { from: edge(a.min(b)), to: edge(a.max(b)) }.within(shared.whole.get_untracked()));
                cursor.set(None);
            }
            _ => {
                // A press keeps the cursor where it is, the next one lets it go.
                let kept = cursor.get_untracked().is_some_and(|c| c.kept);
                let at = share(e.client_x()).filter(|_| !kept).map(|s| axis.time_at(s));
                cursor.set(at.map(|at| Cursor { at, receipt: None, kept: true }));
            }
        }
    };
    let left = move |_| {
        brush.set(None);
        if cursor.get_untracked().is_some_and(|c| !c.kept) {
            cursor.set(None);
        }
    };
    let wheel = move |e: ev::WheelEvent| {
        let Some(share) = share(e.client_x()) else { return };
        let axis = axis.get_untracked();
        if e.ctrl_key() || e.meta_key() {
            e.prevent_default();
            let factor = if e.delta_y() < 0.0 { 0.8 } else { 1.25 };
            let at = axis.since(axis.time_at(share));
            show.run(Zoom::around(shared.zoom.get_untracked(), at, factor, shared.whole.get_untracked()));
        } else if e.shift_key() || e.delta_x().abs() > e.delta_y().abs() {
            let by = if e.delta_x() == 0.0 { e.delta_y() } else { e.delta_x() };
            if let Some(zoom) = shared.zoom.get_untracked() {
                e.prevent_default();
                show.run(zoom.moved((by / 1000.0 * axis.span as f64) as i64, shared.whole.get_untracked()));
            }
        }
    };
    zoom_keys(shared);
    view! {
        <div class="tl-scroll" node_ref=box_ref>
            <div
                class="tl-width"
                node_ref=width
                on:pointermove=moved
                on:pointerdown=pressed
                on:pointerup=released
                on:pointerleave=left
                on:wheel=wheel
                on:dblclick=move |_| show.run(None)
            >
                <div class="tl-part" inner_html=drawing></div>
                <div class="tl-part" inner_html=marks></div>
                {overlay(shared)}
            </div>
        </div>
    }
    .settled()
}

/// The cursor and what is dragged, over both drawings. The cursor is a slider: arrows go from receipt to receipt, Enter opens it.
fn overlay(shared: Shared) -> AnyView {
    let Shared { view, axis, cursor, brush, reading, .. } = shared;
    let x = move || axis.with(|a| a.x(reading.with(|r| r.at)));
    let text = move |x: f64| format!("{x:.1}");
    let keys = move |e: ev::KeyboardEvent| {
        let a = axis.get_untracked();
        let at = reading.with_untracked(|r| r.at);
        let on = reading.with_untracked(|r| r.receipt.as_ref().map(|(i, _)| *i));
        let to = match (e.key().as_str(), e.shift_key()) {
            ("Enter", _) => {
                open_receipt(on);
                None
            }
            ("Escape", _) => {
                cursor.set(None);
                None
            }
            ("ArrowLeft", false) => view.with_untracked(|v| neighbour(v, cursor.get_untracked(), on, -1)),
            ("ArrowRight", false) => view.with_untracked(|v| neighbour(v, cursor.get_untracked(), on, 1)),
            ("ArrowLeft", true) => Some((at.plus_millis(-a.grain()), None)),
            ("ArrowRight", true) => Some((at.plus_millis(a.grain()), None)),
            ("PageUp", _) => Some((at.plus_millis(-a.span / 10), None)),
            ("PageDown", _) => Some((at.plus_millis(a.span / 10), None)),
            ("Home", _) => Some((a.start, None)),
            ("End", _) => Some((a.until, None)),
            _ => return,
        };
        e.prevent_default();
        if let Some((at, receipt)) = to {
            let end = a.start.plus_millis(a.span);
            cursor.set(Some(Cursor { at: at.max(a.start).min(end), receipt, kept: true }));
        }
    };
    // Whole as text: what is dragged, and where the cursor is.
    let dragged = written(move || {
        let Some((a, b)) = brush.get() else { return String::new() };
        let at = |share: f64| (share * f64::from(WIDTH)).clamp(f64::from(LEFT), f64::from(RIGHT));
        let (a, b) = (at(a.min(b)), at(a.max(b)));
        format!(r#"<rect class="tl-brush" x="{a:.1}" y="18" width="{:.1}" height="{}"/>"#, b - a, HEIGHT - 44)
    });
    let needle = written(move || {
        let x = x();
        let since = reading.with(|r| r.since.clone());
        maud::html! {
            line.tl-now x1={ (text(x)) } x2={ (text(x)) } y1="17" y2=(HEIGHT - 22) {}
            rect.tl-now-box x=(text(x - 28.0)) y="0" width="56" height="17" rx="3" {}
            text.tl-now-text x=(text(x)) y="12.5" text-anchor="middle" { (since) }
        }
        .into_string()
    });
    let class = written(move || if cursor.get().is_none() { "tl-cursor off" } else { "tl-cursor" }.to_owned());
    let most = written(move || (axis.get().since(axis.get().until) / 1000).to_string());
    let at = written(move || (axis.get().since(reading.with(|r| r.at)) / 1000).to_string());
    let said = written(move || reading.with(Reading::sentence));
    view! {
        <svg class="tl-over" viewBox=format!("0 0 {WIDTH} {HEIGHT}")>
            <g inner_html=dragged></g>
            <g
                class=class
                tabindex="0"
                role="slider"
                aria-label="Cursor over all lanes: arrows go from receipt to receipt, Enter opens it"
                aria-valuemin="0"
                aria-valuemax=most
                aria-valuenow=at
                aria-valuetext=said
                on:keydown=keys
                inner_html=needle
            ></g>
        </svg>
    }
    .settled()
}

/// The receipt before or after the one that the cursor is at, with its time.
fn neighbour(
    v: &ReleaseView,
    cursor: Option<Cursor>,
    on: Option<u64>,
    step: isize,
) -> Option<(Timestamp, Option<u64>)> {
    let at = v.receipts.iter().position(|r| Some(r.index) == on)?;
    // From now, or from between two receipts, the first step back is to the one that is named there.
    let exact = cursor.is_some_and(|c| c.receipt.is_some());
    let to = if exact || step > 0 { at.checked_add_signed(step)? } else { at };
    v.receipts.get(to).map(|r| (r.payload.time, Some(r.index)))
}

/// The part that is `factor` times as long as the one shown, around the cursor or the middle.
fn resized(shared: Shared, factor: f64) -> Option<Zoom> {
    let (axis, whole) = (shared.axis.get_untracked(), shared.whole.get_untracked());
    let middle = axis.start.plus_millis(axis.span / 2);
    // A part that ends at now is looked at around now.
    let at = shared.cursor.get_untracked().map_or(if axis.shows(axis.until) { axis.until } else { middle }, |c| c.at);
    if factor.is_finite() { Zoom::around(shared.zoom.get_untracked(), axis.since(at), factor, whole) } else { None }
}

/// The ticks of the shown part, when those of the page are thinned: asked for once the part has come to rest.
fn finer(
    view: RwSignal<ReleaseView>,
    zoom: RwSignal<Option<Zoom>>,
    whole: Memo<Axis>,
) -> ReadSignal<Option<(Zoom, Vec<Tick>)>> {
    let (fine, set_fine) = signal(None);
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    let clear = move || {
        if let Some(handle) = waiting.try_get_value().flatten() {
            handle.clear();
        }
    };
    on_cleanup(clear);
    Effect::new(move |_| {
        clear();
        let Some(part) = zoom.get() else { return };
        let axis = whole.get_untracked();
        let until = axis.since(axis.until);
        // With a tick a second nothing is thinned below this; what still grows is drawn from what arrives.
        if until <= i64::from(reads::MAX_POINTS) * 1000 || part.to >= until {
            return;
        }
        let ask = move || {
            let (release, from) = view.with_untracked(|v| (v.row.id.clone(), v.row.started));
            leptos::task::spawn_local(async move {
                let ticks = reads::get_ticks(release, from.plus_millis(part.from), from.plus_millis(part.to)).await;
                if let Ok(ticks) = ticks {
                    let _ = set_fine.try_set(Some((part, ticks)));
                }
            });
        };
        waiting.set_value(set_timeout_with_handle(ask, std::time::Duration::from_millis(300)).ok());
    });
    fine
}

/// `+` closer, `-` wider, `0` all, unless somebody is typing.
fn zoom_keys(shared: Shared) {
    Effect::new(move |_| {
        let handle = window_event_listener(ev::keydown, move |e| {
            if e.ctrl_key() || e.meta_key() || e.alt_key() || typing() {
                return;
            }
            let factor = match e.key().as_str() {
                "+" | "=" => 0.5,
                "-" => 2.0,
                "0" => f64::INFINITY,
                _ => return,
            };
            e.prevent_default();
            shared.show.run(resized(shared, factor));
        });
        on_cleanup(move || handle.remove());
    });
}

/// Where on the drawing a place on the screen is, as a share of its width.
#[cfg(feature = "hydrate")]
fn share_of(drawing: &web_sys::HtmlDivElement, x: i32) -> f64 {
    let at = drawing.get_bounding_client_rect();
    ((f64::from(x) - at.left()) / at.width().max(1.0)).clamp(0.0, 1.0)
}
#[cfg(not(feature = "hydrate"))]
fn share_of(_: &leptos::web_sys::HtmlDivElement, _: i32) -> f64 {
    0.0
}

/// Opens a receipt as a press on its link would.
#[cfg(feature = "hydrate")]
fn open_receipt(index: Option<u64>) {
    use wasm_bindgen::JsCast;
    let Some(index) = index else { return };
    let links = document().query_selector(&format!(".tl-read a[href='/receipts/{index}']")).ok().flatten();
    if let Some(link) = links.and_then(|l| l.dyn_into::<web_sys::HtmlElement>().ok()) {
        link.click();
    }
}
#[cfg(not(feature = "hydrate"))]
fn open_receipt(_: Option<u64>) {}

/// What the lines are, in a sentence.
fn band_note(axis: Axis) -> String {
    let [(_, fast_limit, _, fast), (_, slow_limit, _, slow)] = judge::BURN_ALERTS;
    let minutes = |s: u32| say::clock(i64::from(s) * 1000);
    format!(
        "p99 is the mean of that of each second, over {}. The limit is the mean of stable's p99 over {} plus the allowed increase, the band one standard deviation around that mean. 5xx is the share of requests that failed over {}. Burn is the canary's share of failures over {} (fast, alerts from {fast_limit}) and {} (slow, from {slow_limit}), divided by what an objective of {} % leaves.",
        say::clock(axis.grain()),
        say::clock(timeline::BAND_OVER_MS),
        say::clock(timeline::ERRORS_OVER_MS),
        minutes(fast),
        minutes(slow),
        judge::DEFAULT_SLO * 100.0,
    )
}
