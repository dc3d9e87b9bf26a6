//! Commands given in the browser: the same forms as without a script, sent without leaving the page.

use std::{rc::Rc, time::Duration};

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, FormData, HtmlElement, HtmlFormElement, KeyboardEvent};

use super::{
    super::{controls::Given, page::changed::GIVEN},
    Board, target,
};
use crate::{
    api::commands::{ReleaseCommand, release_command},
    components::typing,
    live::Stream,
};

/// A command that is not answered after this may be given again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

pub(super) fn submitted(board: &Rc<Board>, e: &Event, form: &Element) {
    use leptos::server_fn::ServerFn;
    let ours = form.get_attribute("action").as_deref() == Some(ReleaseCommand::PATH);
    let Some(form) = form.dyn_ref::<HtmlFormElement>().filter(|_| ours) else { return };
    let Ok(fields) = FormData::new_with_form(form) else { return };
    e.prevent_default();
    if board.page.borrow().given == Given::Sent {
        return;
    }
    let field = |name| fields.get(name).as_string().unwrap_or_default();
    let command =
        release_command(field("release"), field("kind"), field("reason"), field("command_id"), field("form_token"));
    give(board, Given::Sent);
    // The dialog has done its work once the command is on its way.
    if let Ok(Some(open)) = form.closest("details[open]") {
        close(&open);
    }
    let waiting = {
        let board = Rc::downgrade(board);
        set_timeout_with_handle(
            move || {
                if let Some(board) = board.upgrade().filter(|b| b.page.borrow().given == Given::Sent) {
                    give(&board, Given::Unanswered);
                }
            },
            ANSWERED_WITHIN,
        )
    };
    let board = board.clone();
    leptos::task::spawn_local(async move {
        let answer = command.await;
        // The next command has its own time.
        if let Ok(waiting) = waiting {
            waiting.clear();
        }
        let done = answer.is_ok();
        give(&board, Given::Answered(answer));
        if done && board.stream.try_get_untracked().is_some_and(|stream| stream != Stream::Live) {
            board.catch_up(0);
        }
    });
}

fn give(board: &Rc<Board>, given: Given) {
    board.change(|page| {
        page.given = given;
        GIVEN
    });
}

/// A press on `Leave` closes the dialog; one that opens a dialog puts the cursor into it. True when it was one of these.
pub(super) fn clicked(pressed: &Element) -> bool {
    if let Ok(Some(leave)) = pressed.closest("[data-leave]")
        && let Ok(Some(details)) = leave.closest("details")
    {
        close(&details);
        return true;
    }
    let summary = pressed.closest("details.ask > summary").ok().flatten();
    let Some(details) = summary.and_then(|summary| summary.closest("details").ok().flatten()) else { return false };
    // It opens after this.
    request_animation_frame(move || {
        let open = details.has_attribute("open");
        say_open(&details, open);
        if open {
            focus_reason(&details);
        }
    });
    true
}

/// Escape leaves the dialog only: what lies under it stays.
pub(super) fn escaped(e: &Event) {
    if e.dyn_ref::<KeyboardEvent>().is_some_and(|e| e.key() == "Escape")
        && let Some(details) = target(e).and_then(|on| on.closest("details.ask[open]").ok().flatten())
    {
        e.stop_propagation();
        close(&details);
    }
}

/// `a` opens the abort dialog, unless somebody is typing.
pub(super) fn key(board: &Rc<Board>, e: &Event) {
    let Some(key) = e.dyn_ref::<KeyboardEvent>() else { return };
    let plain = !key.ctrl_key() && !key.meta_key() && !key.alt_key();
    if !plain || key.key() != "a" || typing() {
        return;
    }
    let abort = board.root.borrow().as_ref().and_then(|root| root.query_selector("details.abort").ok().flatten());
    if let Some(details) = abort {
        let _ = details.set_attribute("open", "");
        say_open(&details, true);
        focus_reason(&details);
        e.prevent_default();
    }
}

/// The focus goes back to the button, if it was within.
fn close(details: &Element) {
    let focus = document().active_element();
    let within = focus.is_some() && details.contains(focus.as_deref());
    let _ = details.remove_attribute("open");
    say_open(details, false);
    if within
        && let Ok(Some(button)) = details.query_selector("summary")
        && let Ok(button) = button.dyn_into::<HtmlElement>()
    {
        let _ = button.focus();
    }
}

/// Tells readers of the screen whether the dialog is open.
pub(super) fn say_open(details: &Element, open: bool) {
    if let Ok(Some(button)) = details.query_selector("summary") {
        let _ = button.set_attribute("aria-expanded", if open { "true" } else { "false" });
    }
}

fn focus_reason(details: &Element) {
    if let Ok(Some(reason)) = details.query_selector("[name=reason]")
        && let Ok(reason) = reason.dyn_into::<HtmlElement>()
    {
        let _ = reason.focus();
    }
}
