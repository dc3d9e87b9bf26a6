//! Many receipts checked in the browser: a whole release, or a range of the log.

use leptos::prelude::*;
use projections::{Receipt, say};

use super::{room, written};
use crate::{verifier::Progress, words::Tone};

/// One line that says what was checked in this browser, a button that checks the rest, and below it where what was checked.
#[component]
pub fn VerifyReceipts(
    /// In the order of the log.
    #[prop(into)]
    receipts: Signal<Vec<Receipt>>,
    /// What they are: `of this release`.
    of: &'static str,
) -> impl IntoView {
    let progress = RwSignal::new(Progress::Idle);
    let left = move || {
        progress.with(|p| match p {
            Progress::Done(f) => {
                receipts.with(|all| all.iter().filter(|r| !f.checked.leaves.contains_key(&r.index)).count())
            }
            _ => receipts.with(Vec::len),
        })
    };
    let start = move |_| {
        #[cfg(feature = "hydrate")]
        {
            let run = crate::verifier::all::Run { receipts: receipts.get_untracked(), progress };
            leptos::task::spawn_local(async move {
                if crate::parts::check_all(run).await.is_err() {
                    let _ = progress.try_set(Progress::Failed("the code that checks did not come".to_owned()));
                }
            });
        }
    };
    let running = move || progress.with(|p| matches!(p, Progress::Running { .. }));
    let name = written(move || match progress.with(|p| matches!(p, Progress::Done(_))) {
        false => format!("Check all {} here", left()),
        true => format!("Check {} more", left()),
    });
    let class = written(move || format!("state {}", progress.with(|p| line(p, of)).0.class()));
    let said = written(move || progress.with(|p| line(p, of)).1);
    let share = Memo::new(move |_| {
        progress.with(|p| match p {
            Progress::Running { done, of } => (done.to_string(), of.to_string()),
            _ => (0.to_string(), 1.to_string()),
        })
    });
    let told = written(move || {
        progress.with(|p| match p {
            Progress::Done(f) => f.markup.clone(),
            _ => String::new(),
        })
    });
    view! {
        <div class="verify">
            <p class="verify-line" role="status">
                <span class=class>{said}</span>
                <span class="mute unaided">"this needs JavaScript, or in a terminal "<code>"deliveryos log verify"</code></span>
                <progress hidden=move || !running() max=move || share.get().1 value=move || share.get().0 aria-label="Receipts checked"></progress>
                <button type="button" class="small woken" hidden=move || left() == 0 on:click=start disabled=running>{name}</button>
            </p>
            {room(told)}
        </div>
    }
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
