//! The dialogs: search as one types, and the list of keys.

use leptos::{ev::KeyboardEvent, html, prelude::*};
use leptos_router::hooks::use_navigate;
use maud::{Markup, html as markup};
use projections::say;

use super::Wanted;
use crate::{
    api::find::{Found, get_found},
    components::{Settle, room, shown, written},
    places::{KEYS, PLACES, matching},
    words,
};

/// Typing faster than this asks once, ms.
const PAUSE_MS: u64 = 120;
/// A dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// Search.
    Search,
    /// The list of keys.
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "wanted in the browser only"))]
    Keys,
}

/// Somewhere to go.
#[derive(Debug, Clone, PartialEq)]
struct Goal {
    href: String,
    /// What it is: `page`, `receipt`, `release`.
    what: &'static str,
    name: String,
    more: String,
}

/// Both dialogs, of which the one that is wanted opens.
pub(crate) fn draw(wanted: Wanted) -> AnyView {
    let (search, keys) = (NodeRef::<html::Dialog>::new(), NodeRef::<html::Dialog>::new());
    let input = NodeRef::<html::Input>::new();
    let (text, found) = (RwSignal::new(String::new()), RwSignal::new(None::<Found>));
    let at = RwSignal::new(0_usize);
    let goals = Memo::new(move |_| goals(&text.get(), found.get().as_ref()));
    let navigate = use_navigate();
    let go = Callback::new(move |href: String| {
        close(search);
        navigate(&href, Default::default());
    });
    Effect::new(move |_| {
        let Some((dialog, _)) = wanted.get() else { return };
        // The first time the dialogs are only just being put into the page.
        request_animation_frame(move || match dialog {
            Dialog::Search => {
                let _ = text.try_set(String::new());
                let _ = found.try_set(None);
                let _ = at.try_set(0);
                open(search);
                if let Some(input) = input.try_get_untracked().flatten() {
                    input.set_value("");
                    let _ = input.focus();
                }
            }
            Dialog::Keys => open(keys),
        });
    });

    // One question after a pause in typing; an answer to what is not asked any more is left aside.
    let asked = StoredValue::new(0_u32);
    let ask = move || {
        let number = asked.get_value().wrapping_add(1);
        asked.set_value(number);
        set_timeout(
            move || {
                if asked.try_get_value() != Some(number) {
                    return;
                }
                let q = text.get_untracked();
                leptos::task::spawn_local(async move {
                    let answer = if q.trim().is_empty() { None } else { get_found(q).await.ok() };
                    if asked.try_get_value() == Some(number) {
                        let _ = found.try_set(answer);
                        let _ = at.try_set(0);
                    }
                });
            },
            std::time::Duration::from_millis(PAUSE_MS),
        );
    };
    let pressed = move |e: KeyboardEvent| {
        let n = goals.with(Vec::len);
        match e.key().as_str() {
            "ArrowDown" if n > 0 => at.update(|at| *at = (*at + 1) % n),
            "ArrowUp" if n > 0 => at.update(|at| *at = (*at + n - 1) % n),
            "Enter" => match goals.with(|goals| goals.get(at.get_untracked()).map(|goal| goal.href.clone())) {
                Some(href) => go.run(href),
                None => return,
            },
            _ => return,
        }
        e.prevent_default();
    };
    let list = written(move || {
        let chosen = at.get();
        goals.with(|goals| {
            markup! {
                ul #goals role="listbox" aria-label="Found" {
                    @for (i, goal) in goals.iter().enumerate() {
                        li id={ "goal-" (i) } role="option" aria-selected=(i == chosen) data-goal=(i) {
                            span.what { (goal.what) }
                            b { (goal.name) }
                            span.mute { (goal.more) }
                        }
                    }
                }
            }
            .into_string()
        })
    });
    let nothing = written(move || {
        let nothing = goals.with(Vec::is_empty) && found.with(Option::is_some);
        if nothing { "Nothing is called so, and no digest begins so.".to_owned() } else { String::new() }
    });
    view! {
        <dialog class="palette" node_ref=search aria-label="Search">
            <input
                node_ref=input
                type="search"
                role="combobox"
                aria-label="Search"
                aria-expanded="true"
                aria-controls="goals"
                aria-autocomplete="list"
                aria-activedescendant=move || goals.with(|goals| (!goals.is_empty()).then(|| format!("goal-{}", at.get())))
                autocomplete="off"
                spellcheck="false"
                maxlength="500"
                placeholder="release, digest, receipt, page"
                on:input=move |e| {
                    text.set(event_target_value(&e));
                    at.set(0);
                    ask();
                }
                on:keydown=pressed
            />
            <div
                class="room"
                on:mousemove=move |e| {
                    if let Some(i) = goal_under(&e) {
                        at.set(i);
                    }
                }
                on:click=move |e| {
                    let under = goal_under(&e);
                    if let Some(href) = goals.with(|goals| goals.get(under?).map(|goal| goal.href.clone())) {
                        go.run(href);
                    }
                }
            >
                {room(list)}
            </div>
            <p class="none" role="status">{nothing}</p>
        </dialog>
        <dialog class="palette keys" node_ref=keys aria-label="Keys">{shown(all_keys())}</dialog>
    }
    .settled()
}

fn all_keys() -> Markup {
    markup! {
        h2 { "Keys" }
        dl {
            @for (key, does) in KEYS { dt { kbd { (key) } } dd { (does) } }
            @for place in PLACES { dt { kbd { "g" } " " kbd { (place.key) } } dd { (place.name) } }
        }
        form method="dialog" { button { "Close" } }
    }
}

/// The goal that the mouse is on.
#[cfg(feature = "hydrate")]
fn goal_under(e: &leptos::ev::MouseEvent) -> Option<usize> {
    use wasm_bindgen::JsCast;
    let on: web_sys::Element = e.target()?.dyn_into().ok()?;
    on.closest("[data-goal]").ok()??.get_attribute("data-goal")?.parse().ok()
}
#[cfg(not(feature = "hydrate"))]
fn goal_under(_: &leptos::ev::MouseEvent) -> Option<usize> {
    None
}

fn goals(text: &str, found: Option<&Found>) -> Vec<Goal> {
    let mut goals: Vec<Goal> = matching(text)
        .into_iter()
        .map(|place| Goal {
            href: place.href.to_owned(),
            what: "page",
            name: place.name.to_owned(),
            more: format!("g {}", place.key),
        })
        .collect();
    let Some(found) = found else { return goals };
    goals.extend(found.receipt.iter().map(|receipt| Goal {
        href: format!("/receipts/{}", receipt.index),
        what: "receipt",
        name: say::count(receipt.index),
        more: receipt.said.clone(),
    }));
    goals.extend(found.releases.iter().map(|row| Goal {
        href: format!("/releases/{}", row.id),
        what: "release",
        name: format!("{} {}", row.service, row.version),
        more: format!("{}, {}, {}", words::state(row).1, row.environment, row.digest.short()),
    }));
    goals
}

fn open(dialog: NodeRef<html::Dialog>) {
    if let Some(dialog) = dialog.get_untracked()
        && !dialog.open()
    {
        let _ = dialog.show_modal();
    }
}

fn close(dialog: NodeRef<html::Dialog>) {
    if let Some(dialog) = dialog.get_untracked() {
        dialog.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_first_and_then_what_was_found() {
        let found = Found {
            receipt: Some(crate::api::find::FoundReceipt {
                index: 18_204,
                kind: model::Kind::KeyRotated,
                said: "Key rotated".to_owned(),
            }),
            releases: Vec::new(),
            of: 0,
        };
        let all: Vec<_> = goals("18204", Some(&found)).into_iter().map(|goal| goal.href).collect();
        assert_eq!(all, ["/receipts/18204"]);
        assert_eq!(goals("rel", None)[0].href, "/releases");
        assert_eq!(goals("", None).len(), PLACES.len());
    }
}
