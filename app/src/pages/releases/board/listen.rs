//! Listeners of the page, gone with it.

use std::rc::Rc;

use leptos::prelude::window;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Element, Event, EventTarget};

use super::{Board, commands, timeline};

pub(super) struct Listener {
    on: EventTarget,
    name: &'static str,
    call: Closure<dyn FnMut(Event)>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let call = self.call.as_ref().unchecked_ref();
        let _ = self.on.remove_event_listener_with_callback_and_bool(self.name, call, capture(self.name));
    }
}

/// Some events do not rise from where they happen: they are heard on their way down.
fn capture(name: &str) -> bool {
    name == "toggle"
}

/// What is heard on the page, on the drawings of the timeline and of the evidence, and on the window.
pub(super) fn all(board: &Rc<Board>, root: &Element) -> Vec<Listener> {
    type Act = fn(&Rc<Board>, &Event);
    let page: [(&str, Act); 5] = [
        ("click", |board, e| board.clicked(e)),
        ("submit", |board, e| board.submitted(e)),
        ("input", |board, e| board.slid(e)),
        ("toggle", |board, e| board.opened(e)),
        ("keydown", |board, e| {
            commands::escaped(e);
            timeline::key(board, e);
        }),
    ];
    let drawing: [(&str, Act); 6] = [
        ("pointermove", timeline::moved),
        ("pointerdown", timeline::pressed),
        ("pointerup", timeline::released),
        ("pointerleave", |board, _| timeline::left(board)),
        ("wheel", timeline::wheeled),
        ("dblclick", |board, _| board.show(None)),
    ];
    let keys: [(&str, Act); 1] = [("keydown", |board, e| {
        commands::key(board, e);
        timeline::zoom_key(board, e);
    })];
    let drawings = timeline::DRAWINGS.map(|of| root.query_selector(&format!("{of} .tl-width")).ok().flatten());
    let on = |on: EventTarget, (name, act): (&'static str, Act)| {
        let board = Rc::downgrade(board);
        let call = Closure::<dyn FnMut(Event)>::new(move |e: Event| {
            if let Some(board) = board.upgrade() {
                act(&board, &e);
            }
        });
        let _ = on.add_event_listener_with_callback_and_bool(name, call.as_ref().unchecked_ref(), capture(name));
        Listener { on, name, call }
    };
    let mut all: Vec<Listener> = page.into_iter().map(|l| on(root.clone().into(), l)).collect();
    for width in drawings.into_iter().flatten() {
        all.extend(drawing.into_iter().map(|l| on(width.clone().into(), l)));
    }
    all.extend(keys.into_iter().map(|l| on(window().into(), l)));
    all
}
