//! The timeline on the page: two drawings on one axis with one cursor and one zoom.

use maud::{Markup, html};
use model::Timestamp;
use projections::say;

use super::page::Page;
use crate::timeline::{self, Axis, EVIDENCE_HEIGHT, HEIGHT, LEFT, RIGHT, Reading, WIDTH, Zoom};

/// The section, with what is in its rooms.
pub(super) fn section(of: impl Fn(&str) -> Markup) -> Markup {
    html! {
        section.timeline aria-label="Timeline" {
            div.tl-read {
                div.room data-room="tl-read" { (of("tl-read")) }
                div.tl-zoom.woken role="group" aria-label="Zoom" data-room="tl-zoom" { (of("tl-zoom")) }
            }
            div.tl-scroll {
                div.tl-width {
                    div.tl-part data-room="tl-lines" { (of("tl-lines")) }
                    div.tl-part data-room="tl-marks" { (of("tl-marks")) }
                    svg.tl-over viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } data-room="tl-over" { (of("tl-over")) }
                }
            }
            details.twin data-twin="rows" {
                summary { "The same in rows" }
                div.room data-room="tl-rows" { (of("tl-rows")) }
            }
        }
    }
}

/// What the lanes say at the cursor. Its room is reserved: nothing moves when the cursor does.
pub(super) fn read(p: &Page) -> String {
    let place = match p.cursor {
        Some(_) => "at",
        None if p.axis().until < p.whole().until => "then",
        None if p.view().row.in_flight() => "now",
        None => "end",
    };
    said_at(place, p.reading(), timeline::Limits::of(p.view()))
}

/// The zoom's buttons.
pub(super) fn zoom(p: &Page) -> String {
    let (whole, closest) = (p.zoom.is_none(), p.whole().span <= Zoom::LEAST);
    html! {
        button type="button" data-zoom="wider" aria-label="Show more of the time" title="Wider (−)" disabled[whole] { "−" }
        button type="button" data-zoom="closer" aria-label="Show less of the time" title="Closer (+)" disabled[closest] { "+" }
        button.all type="button" data-zoom="all" title="All of it (0)" disabled[whole] { "All" }
    }
    .into_string()
}

/// The lines, which change with each tick.
pub(super) fn lines(p: &Page) -> String {
    timeline::chart(p.view(), p.points(), p.axis())
}

/// People, verdicts and receipts.
pub(super) fn marks(p: &Page) -> String {
    let axis = p.axis();
    // Its axis ends at the same place from second to second.
    timeline::marks(p.view(), Axis { until: axis.start, ..axis })
}

/// The cursor and what is dragged, over both drawings. The cursor is a slider: arrows go from receipt to receipt, Enter opens it.
pub(super) fn over(p: &Page) -> String {
    let (axis, reading) = (p.axis(), p.reading());
    let x = axis.x(reading.at);
    let seconds = |at: Timestamp| axis.since(at) / 1000;
    html! {
        g { (brush(p, 18, HEIGHT - 44)) }
        g class={ "tl-cursor" @if p.cursor.is_none() { " off" } }
            tabindex="0" role="slider" aria-label="Cursor over all lanes: arrows go from receipt to receipt, Enter opens it"
            aria-valuemin="0" aria-valuemax=(seconds(axis.until)) aria-valuenow=(seconds(reading.at)) aria-valuetext=(reading.sentence()) {
            (line(x, 17, HEIGHT - 22))
            rect.tl-now-box x=(tenths(x - 28.0)) y="0" width="56" height="17" rx="3" {}
            text.tl-now-text x=(tenths(x)) y="12.5" text-anchor="middle" { (reading.since) }
        }
    }
    .into_string()
}

/// The same cursor over the lanes of the evidence, which are a drawing of their own. What they say there stands above them.
pub(super) fn over_evidence(p: &Page) -> String {
    html! {
        (brush(p, 0, EVIDENCE_HEIGHT))
        @if p.cursor.is_some() && p.axis().shows(p.reading().at) {
            (line(p.axis().x(p.reading().at), 0, EVIDENCE_HEIGHT))
        }
    }
    .into_string()
}

fn line(x: f64, from: u32, to: u32) -> Markup {
    html! { line.tl-now x1=(tenths(x)) x2=(tenths(x)) y1=(from) y2=(to) {} }
}

/// What is being dragged.
fn brush(p: &Page, top: u32, height: u32) -> Markup {
    let place = |share: f64| (share * f64::from(WIDTH)).clamp(f64::from(LEFT), f64::from(RIGHT));
    let ends = p.brush.map(|(a, b)| (place(a.min(b)), place(a.max(b))));
    html! {
        @if let Some((a, b)) = ends { rect.tl-brush x=(tenths(a)) y=(top) width=(tenths(b - a)) height=(height) {} }
    }
}

fn tenths(x: f64) -> String {
    format!("{x:.1}")
}

fn said_at(place: &str, r: &Reading, limits: timeline::Limits) -> String {
    let limit = limits.word();
    maud::html! {
        dl {
            div { dt { (place) } dd.since { (r.since) " " span.mute { (r.at.clock()) } } }
            div { dt { "weight" } dd.w4 { (r.weight) } }
            div { dt { "p99" } dd.w6.over[r.slow && !limits.tolerated] { (r.canary_p99) } }
            div { dt { "stable" } dd.w6 { (r.stable_p99) } }
            div { dt { (limit) } dd.w9 { (r.limit) } }
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
