//! The timeline on the page: two drawings on one axis, and the same in rows.

use leptos::{ev::KeyboardEvent, html, prelude::*};
use model::Tick;
use projections::{ReleaseView, say};

use crate::{
    live::use_live,
    timeline::{self, Axis},
};

/// The drawings and their table.
#[component]
pub fn Timeline(
    /// The release.
    view: RwSignal<ReleaseView>,
    /// Its ticks.
    ticks: RwSignal<Vec<Tick>>,
) -> impl IntoView {
    let now = use_live().now;
    // An ended release does not move with the clock.
    let until = move || view.with(|v| if v.row.in_flight() { now.get() } else { v.row.ended.unwrap_or_default() });
    let axis = Memo::new(move |_| view.with(|v| Axis::of(v, until())));
    let drawing = move || {
        let until = until();
        view.with(|v| ticks.with(|t| timeline::chart(v, t, until)))
    };
    // Its axis ends at the same place from second to second, so the links keep the focus.
    let placed = Memo::new(move |_| axis.with(|a| (a.start, a.span)));
    let marks = Memo::new(move |_| {
        let (start, span) = placed.get();
        view.with(|v| timeline::marks(v, Axis { start, span, until: start }))
    });
    // The rows are on the page from the start, for readers without a script; afterwards they follow only while they are open.
    let open = RwSignal::new(false);
    let rows = RwSignal::new(ticks.with_untracked(|t| timeline::table(t, axis.get_untracked())));
    Effect::new(move |_| {
        if open.get() {
            rows.set(ticks.with(|t| timeline::table(t, axis.get_untracked())));
        }
    });
    let twin = NodeRef::<html::Details>::new();
    let box_ref = NodeRef::<html::Div>::new();
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
    let arrows = move |e: KeyboardEvent| {
        let step = match e.key().as_str() {
            "ArrowLeft" => -1,
            "ArrowRight" => 1,
            _ => return,
        };
        if let Some(all) = box_ref.get_untracked() {
            move_focus(&all, step, &e);
        }
    };
    view! {
        <section class="timeline" aria-label="Timeline">
            <div class="tl-scroll" node_ref=box_ref on:keydown=arrows>
                <div class="tl-width">
                    <div class="tl-part" inner_html=drawing></div>
                    <div class="tl-part" inner_html=move || marks.get()></div>
                </div>
            </div>
            <details class="twin" node_ref=twin on:toggle=move |_| open.set(twin.get_untracked().is_some_and(|d| d.open()))>
                <summary>"The same in rows"</summary>
                <div class="wide">
                    <table>
                        <caption class="sr">"Values of the timeline, newest first"</caption>
                        <thead>
                            <tr>
                                <th>"Since start"</th>
                                <th>"UTC"</th>
                                <th class="n">"Weight"</th>
                                <th class="n">"p99 canary, ms"</th>
                                <th class="n">"p99 stable, ms"</th>
                                <th class="n">"limit, ms"</th>
                                <th class="n">"5xx canary, 10 s"</th>
                                <th class="n">"canary requests"</th>
                            </tr>
                        </thead>
                        <tbody>
                            {move || rows.get().into_iter().map(|r| view! {
                                <tr>
                                    <td>{r.since}</td>
                                    <td>{r.at.clock()}</td>
                                    <td class="n">{r.weight}</td>
                                    <td class="n">{r.canary_p99}</td>
                                    <td class="n">{r.stable_p99}</td>
                                    <td class="n">{r.limit}</td>
                                    <td class="n">{r.canary_errors}</td>
                                    <td class="n">{r.canary_n}</td>
                                </tr>
                            }).collect_view()}
                        </tbody>
                    </table>
                </div>
                <p class="mute">{move || band_note(axis.get())}</p>
            </details>
        </section>
    }
}

/// What the lines are, in a sentence.
fn band_note(axis: Axis) -> String {
    format!(
        "p99 is the mean of that of each second, over {}. The limit is the mean of stable's p99 over {} plus the allowed increase, the band one standard deviation around that mean. 5xx is the share of requests that failed over {}.",
        say::clock(axis.grain()),
        say::clock(timeline::BAND_OVER_MS),
        say::clock(timeline::ERRORS_OVER_MS),
    )
}

#[cfg(feature = "hydrate")]
fn move_focus(all: &web_sys::HtmlDivElement, step: i32, event: &KeyboardEvent) {
    use wasm_bindgen::JsCast;
    let Ok(links) = all.query_selector_all("a.tl-link") else { return };
    let focused = document().active_element();
    let links: Vec<web_sys::Element> = (0..links.length()).filter_map(|i| links.get(i)?.dyn_into().ok()).collect();
    let Some(at) = links.iter().position(|l| Some(l) == focused.as_ref()) else { return };
    let next = i32::try_from(at).unwrap_or(0) + step;
    if let Some(next) = usize::try_from(next).ok().and_then(|i| links.get(i)) {
        event.prevent_default();
        if let Some(next) = next.dyn_ref::<web_sys::SvgElement>() {
            let _ = next.focus();
        }
    }
}
#[cfg(not(feature = "hydrate"))]
fn move_focus(_: &leptos::web_sys::HtmlDivElement, _: i32, _: &KeyboardEvent) {}
