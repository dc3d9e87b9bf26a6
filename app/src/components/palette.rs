//! Search in place (`/`, Ctrl K), the list of keys (`?`), and `g` with a letter.
//!
//! Without JavaScript the same search is the page `/search`, where the link in the header leads.

use leptos::{ev::KeyboardEvent, html, prelude::*};
use leptos_router::hooks::use_navigate;
use projections::say;

use crate::{
    api::find::{Found, get_found},
    live::use_live,
    places::{KEYS, PLACES, matching},
    words,
};

/// Typing faster than this asks once, ms.
const PAUSE_MS: u64 = 120;
/// `g` waits so long for its letter, ms.
#[cfg(feature = "hydrate")]
const CHORD_MS: f64 = 1_500.0;

/// Somewhere to go.
#[derive(Debug, Clone, PartialEq)]
struct Goal {
    href: String,
    /// What it is: `page`, `receipt`, `release`.
    what: &'static str,
    name: String,
    more: String,
}

/// The link to the search, and the dialogs behind it.
#[component]
pub fn Palette() -> impl IntoView {
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
    let open_search = Callback::new(move |()| {
        text.set(String::new());
        found.set(None);
        at.set(0);
        open(search);
        if let Some(input) = input.get_untracked() {
            input.set_value("");
            let _ = input.focus();
        }
    });
    #[cfg(feature = "hydrate")]
    browser::listen(search, keys, open_search, go);

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
    let awake = use_live().awake;
    view! {
        <a
            class="find-link"
            href="/search"
            on:click=move |e| {
                if awake.get_untracked() && !(e.ctrl_key() || e.meta_key() || e.shift_key()) {
                    e.prevent_default();
                    open_search.run(());
                }
            }
        >
            "Search "<kbd aria-hidden="true">"/"</kbd>
        </a>
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
            <ul id="goals" role="listbox" aria-label="Found">
                {move || {
                    goals.get().into_iter().enumerate().map(|(i, goal)| {
                        let href = goal.href.clone();
                        view! {
                            <li
                                id=format!("goal-{i}")
                                role="option"
                                aria-selected=move || (at.get() == i).to_string()
                                on:mousemove=move |_| at.set(i)
                                on:click=move |_| go.run(href.clone())
                            >
                                <span class="what">{goal.what}</span>
                                <b>{goal.name}</b>
                                <span class="mute">{goal.more}</span>
                            </li>
                        }
                    }).collect_view()
                }}
            </ul>
            <p class="none" role="status">{move || {
                let nothing = goals.with(Vec::is_empty) && found.with(Option::is_some);
                nothing.then_some("Nothing is called so, and no digest begins so.")
            }}</p>
        </dialog>
        <dialog class="palette keys" node_ref=keys aria-label="Keys">
            <h2>"Keys"</h2>
            <dl>
                {KEYS.into_iter().map(|(key, does)| view! { <dt><kbd>{key}</kbd></dt><dd>{does}</dd> }).collect_view()}
                {PLACES.into_iter().map(|place| view! { <dt><kbd>"g"</kbd>" "<kbd>{place.key}</kbd></dt><dd>{place.name}</dd> }).collect_view()}
            </dl>
            <form method="dialog"><button>"Close"</button></form>
        </dialog>
    }
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

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::{html, prelude::*};

    use super::{CHORD_MS, PLACES, open};
    use crate::components::typing;

    /// The keys of every page. Whoever types into a field types.
    pub(super) fn listen(
        search: NodeRef<html::Dialog>,
        keys: NodeRef<html::Dialog>,
        open_search: Callback<()>,
        go: Callback<String>,
    ) {
        Effect::new(move |_| {
            let begun = StoredValue::new(f64::NEG_INFINITY);
            let handle = window_event_listener(leptos::ev::keydown, move |e| {
                let is_open = [search, keys].iter().any(|d| d.get_untracked().is_some_and(|d| d.open()));
                let key = e.key();
                if (e.ctrl_key() || e.meta_key()) && !e.alt_key() && key.eq_ignore_ascii_case("k") {
                    e.prevent_default();
                    if !is_open {
                        open_search.run(());
                    }
                    return;
                }
                if is_open || typing() || e.ctrl_key() || e.meta_key() || e.alt_key() {
                    return;
                }
                let now = js_sys::Date::now();
                let chord = now - begun.get_value() < CHORD_MS;
                begun.set_value(if key == "g" && !chord { now } else { f64::NEG_INFINITY });
                if chord && let Some(place) = PLACES.iter().find(|place| place.key == key) {
                    e.prevent_default();
                    go.run(place.href.to_owned());
                    return;
                }
                match key.as_str() {
                    "/" => open_search.run(()),
                    "?" => open(keys),
                    _ => return,
                }
                e.prevent_default();
            });
            on_cleanup(move || handle.remove());
        });
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
