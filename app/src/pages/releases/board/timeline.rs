//! The timeline's cursor and zoom, by mouse, wheel and keyboard.

use std::{rc::Rc, time::Duration};

use leptos::prelude::*;
use model::Timestamp;
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, KeyboardEvent, PointerEvent, WheelEvent};

use super::{
    super::page::{
        Cursor, Page,
        changed::{BRUSH, CURSOR, ZOOM},
    },
    Board, target,
};
use crate::{api::reads::get_ticks, components::typing, timeline::Zoom};

/// The ticks of a part are asked for once it has come to rest.
const REST: Duration = Duration::from_millis(300);

impl Board {
    /// Shows a part of the axis.
    pub(super) fn show(self: &Rc<Self>, part: Option<Zoom>) {
        self.change(|page| {
            page.zoom = part;
            ZOOM
        });
        let (from, to) = part.map(Zoom::write).unzip();
        (self.rest)(vec![("from", from), ("to", to)]);
        if let Some(before) = self.asking.take() {
            before.clear();
        }
        if self.page.borrow().finer().is_some() {
            let board = Rc::downgrade(self);
            let ask = move || {
                if let Some(board) = board.upgrade() {
                    board.ask_finer();
                }
            };
            self.asking.set(set_timeout_with_handle(ask, REST).ok());
        }
    }

    fn ask_finer(self: Rc<Self>) {
        let (part, release, from) = {
            let page = self.page.borrow();
            let Some(part) = page.finer() else { return };
            (part, page.live.row.id.clone(), page.live.row.started)
        };
        leptos::task::spawn_local(async move {
            let ticks = get_ticks(release, from.plus_millis(part.from), from.plus_millis(part.to)).await;
            if let Ok(ticks) = ticks {
                self.change(|page| {
                    page.fine = Some((part, ticks));
                    ZOOM
                });
            }
        });
    }

    fn put_cursor(self: &Rc<Self>, cursor: Option<Cursor>) {
        self.change(|page| {
            page.cursor = cursor;
            CURSOR
        });
    }
}

/// What holds the drawings on the axis: the timeline's, and the evidence's.
pub(super) const DRAWINGS: [&str; 2] = [".timeline", ".judge"];

/// On a narrow screen the drawings are wider than the page: they begin where now is.
pub(super) fn scroll_to_now(root: &Element, page: &Page) {
    for drawing in DRAWINGS {
        if let Ok(Some(scroll)) = root.query_selector(&format!("{drawing} .tl-scroll"))
            && scroll.scroll_width() > scroll.client_width()
        {
            let (all, seen) = (f64::from(scroll.scroll_width()), f64::from(scroll.client_width()));
            let now = all * page.axis().share_of_width() - seen * 0.6;
            scroll.set_scroll_left(now.max(0.0) as i32);
        }
    }
}

/// Where on the drawing that is pointed at a place on the screen is, as a share of its width.
fn share(e: &Event, x: i32) -> Option<f64> {
    let at = e.current_target()?.dyn_into::<Element>().ok()?.get_bounding_client_rect();
    Some(((f64::from(x) - at.left()) / at.width().max(1.0)).clamp(0.0, 1.0))
}

pub(super) fn moved(board: &Rc<Board>, e: &Event) {
    let Some(share) = e.dyn_ref::<PointerEvent>().and_then(|at| share(e, at.client_x())) else { return };
    board.change(|page| {
        let mut what = 0;
        if let Some((from, _)) = page.brush {
            page.brush = Some((from, share));
            what |= BRUSH;
        }
        if page.brush.is_some() || page.cursor.is_none_or(|c| !c.kept) {
            page.cursor = Some(Cursor { at: page.axis().time_at(share), receipt: None, kept: false });
            what |= CURSOR;
        }
        what
    });
}

pub(super) fn pressed(board: &Rc<Board>, e: &Event) {
    // A finger scrolls; a mouse draws the part to show.
    let mouse = e.dyn_ref::<PointerEvent>().filter(|e| e.pointer_type() == "mouse" && e.button() == 0);
    if let Some(share) = mouse.and_then(|at| share(e, at.client_x())) {
        board.change(|page| {
            page.brush = Some((share, share));
            BRUSH
        });
    }
}

pub(super) fn released(board: &Rc<Board>, e: &Event) {
    /// Below this it was a click.
    const LEAST: f64 = 0.01;
    let Some(at) = e.dyn_ref::<PointerEvent>().and_then(|at| share(e, at.client_x())) else { return };
    let mut dragged = None;
    board.change(|page| {
        dragged = page.brush.take().filter(|(a, b)| (a - b).abs() > LEAST);
        BRUSH
    });
    let (axis, whole) = (board.page.borrow().axis(), board.page.borrow().whole());
    if let Some((a, b)) = dragged {
        let edge = |share: f64| axis.since(axis.time_at(share));
        board.show(Zoom { from: edge(a.min(b)), to: edge(a.max(b)) }.within(whole));
        board.put_cursor(None);
    } else {
        // A press keeps the cursor where it is, the next one lets it go.
        let kept = board.page.borrow().cursor.is_some_and(|c| c.kept);
        board.put_cursor((!kept).then(|| Cursor { at: axis.time_at(at), receipt: None, kept: true }));
    }
}

pub(super) fn left(board: &Rc<Board>) {
    board.change(|page| {
        page.brush = None;
        page.cursor = page.cursor.filter(|c| c.kept);
        BRUSH | CURSOR
    });
}

pub(super) fn wheeled(board: &Rc<Board>, event: &Event) {
    let Some(e) = event.dyn_ref::<WheelEvent>() else { return };
    let Some(share) = share(event, e.client_x()) else { return };
    let (axis, whole, zoom) = {
        let page = board.page.borrow();
        (page.axis(), page.whole(), page.zoom)
    };
    if e.ctrl_key() || e.meta_key() {
        event.prevent_default();
        let factor = if e.delta_y() < 0.0 { 0.8 } else { 1.25 };
        let at = axis.since(axis.time_at(share));
        board.show(Zoom::around(zoom, at, factor, whole));
    } else if e.shift_key() || e.delta_x().abs() > e.delta_y().abs() {
        let by = if e.delta_x() == 0.0 { e.delta_y() } else { e.delta_x() };
        if let Some(zoom) = zoom {
            event.prevent_default();
            board.show(zoom.moved((by / 1000.0 * axis.span as f64) as i64, whole));
        }
    }
}

/// Keys on the cursor: arrows go from receipt to receipt, Enter opens it.
pub(super) fn key(board: &Rc<Board>, event: &Event) {
    let on_cursor = target(event).is_some_and(|on| on.class_list().contains("tl-cursor"));
    let Some(e) = event.dyn_ref::<KeyboardEvent>().filter(|_| on_cursor) else { return };
    let (axis, reading) = (board.page.borrow().axis(), board.page.borrow().read());
    let (at, on) = (reading.at, reading.receipt.map(|(index, _)| index));
    let to: Option<(Timestamp, Option<u64>)> = match (e.key().as_str(), e.shift_key()) {
        ("Enter", _) => {
            if let Some(index) = on {
                board.open_receipt(index);
            }
            None
        }
        ("Escape", _) => {
            board.put_cursor(None);
            None
        }
        ("ArrowLeft", false) => board.page.borrow().neighbour(on, -1),
        ("ArrowRight", false) => board.page.borrow().neighbour(on, 1),
        ("ArrowLeft", true) => Some((at.plus_millis(-axis.grain()), None)),
        ("ArrowRight", true) => Some((at.plus_millis(axis.grain()), None)),
        ("PageUp", _) => Some((at.plus_millis(-axis.span / 10), None)),
        ("PageDown", _) => Some((at.plus_millis(axis.span / 10), None)),
        ("Home", _) => Some((axis.start, None)),
        ("End", _) => Some((axis.until, None)),
        _ => return,
    };
    event.prevent_default();
    if let Some((at, receipt)) = to {
        let (zoom, whole) = (board.page.borrow().zoom, board.page.borrow().whole());
        // A receipt outside what is shown brings its surroundings with it.
        if receipt.is_some()
            && !axis.shows(at)
            && let Some(zoom) = zoom
        {
            let by = axis.since(at) - (zoom.from + zoom.to) / 2;
            board.show(zoom.moved(by, whole));
            board.put_cursor(Some(Cursor { at, receipt, kept: true }));
            return;
        }
        let end = axis.start.plus_millis(axis.span);
        board.put_cursor(Some(Cursor { at: at.max(axis.start).min(end), receipt, kept: true }));
    }
}

/// `+` closer, `-` wider, `0` all, unless somebody is typing.
pub(super) fn zoom_key(board: &Rc<Board>, event: &Event) {
    let Some(e) = event.dyn_ref::<KeyboardEvent>() else { return };
    if e.ctrl_key() || e.meta_key() || e.alt_key() || typing() {
        return;
    }
    let factor = match e.key().as_str() {
        "+" | "=" => 0.5,
        "-" => 2.0,
        "0" => f64::INFINITY,
        _ => return,
    };
    event.prevent_default();
    let part = board.page.borrow().resized(factor);
    board.show(part);
}
