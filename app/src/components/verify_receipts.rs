//! Many receipts checked in the browser: a whole release, or a range of the log.

use maud::{Markup, html};
use projections::{Receipt, say};

use crate::{verifier::Progress, words::Tone};

/// What was checked of them in this browser, and a button that checks the rest.
pub fn verify_line(progress: &Progress, receipts: &[Receipt], of: &str) -> Markup {
    let left = match progress {
        Progress::Done(f) => receipts.iter().filter(|r| !f.checked.leaves.contains_key(&r.index)).count(),
        _ => receipts.len(),
    };
    let running = match progress {
        Progress::Running { done, of } => Some((*done, *of)),
        _ => None,
    };
    let (tone, said) = line(progress, of);
    let (done, whole) = running.unwrap_or((0, 1));
    html! {
        span class={ "state " (tone.class()) } { (said) }
        // Nobody sees it where a script runs.
        @if cfg!(feature = "ssr") { span.mute.unaided { "this needs JavaScript, or in a terminal " code { "deliveryos log verify" } } }
        progress hidden[running.is_none()] max=(whole) value=(done) aria-label="Receipts checked" {}
        button.small.woken type="button" data-check="" hidden[left == 0] disabled[running.is_some()] {
            @if matches!(progress, Progress::Done(_)) { "Check " (left) " more" } @else { "Check all " (left) " here" }
        }
    }
}

/// Whether the button that checks was pressed.
#[cfg(feature = "hydrate")]
pub(crate) fn check_pressed(e: &web_sys::Event) -> bool {
    use wasm_bindgen::JsCast;
    let pressed = e.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok());
    pressed.is_some_and(|p| p.closest("[data-check]").is_ok_and(|button| button.is_some()))
}
/// Checks what is not checked yet, unless that is under way; `told` gets how far it is.
#[cfg(feature = "hydrate")]
pub(crate) fn check_all(receipts: Vec<Receipt>, before: &Progress, told: impl Fn(Progress) + 'static) {
    let before = match before {
        Progress::Running { .. } => return,
        Progress::Done(found) => found.checked.clone(),
        _ => crate::verifier::Checked::default(),
    };
    let told: std::rc::Rc<dyn Fn(Progress)> = std::rc::Rc::new(told);
    let run = crate::verifier::all::Run { receipts, before, told: told.clone() };
    leptos::task::spawn_local(async move {
        if crate::parts::check_all(run).await.is_err() {
            told(Progress::Failed(crate::verifier::NOT_THERE.to_owned()));
        }
    });
}

/// How far it is, in words.
fn line(progress: &Progress, of: &str) -> (Tone, String) {
    match progress {
        Progress::Idle => (Tone::Unknown, "not checked in this browser yet".to_owned()),
        Progress::Running { done, of } => {
            (Tone::Run, format!("checking {} of {}", say::count(*done as u64), say::count(*of as u64)))
        }
        Progress::Failed(why) => (Tone::Unknown, format!("could not be checked: {why}")),
        Progress::Done(found) => {
            let n = say::plural(found.checked.leaves.len() as u64, "receipt", "receipts");
            if found.checked.holds() {
                (Tone::Good, format!("{n} {of} checked in this browser, all hold"))
            } else {
                (Tone::Bad, format!("{n} {of} checked in this browser: do not believe all of it"))
            }
        }
    }
}
