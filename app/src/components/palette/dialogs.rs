//! The dialogs: search as one types, and the list of keys.

use leptos::{ev::KeyboardEvent, html, prelude::*};
use leptos_router::hooks::use_navigate;
use maud::{Markup, html as markup};
use model::CommandKind;
use projections::say;

use super::Wanted;
use crate::{
    api::{
        find::{Found, get_found},
        page::read,
    },
    components::{Settle, room, shown, written},
    places::{KEYS, PLACES, matching, means},
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

/// Where a choice leads.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    /// To an address.
    To(String),
    /// To a button of this page.
    Button(CommandKind),
    /// Nowhere now.
    Closed,
}

/// A command that this page has a button for.
#[derive(Debug, Clone, PartialEq)]
struct Offered {
    kind: CommandKind,
    /// Why it is not possible now.
    refused: Option<String>,
}

/// Something to choose.
#[derive(Debug, Clone, PartialEq)]
struct Goal {
    way: Way,
    /// What it is: `command`, `page`, `receipt`, `somebody`, `release`.
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
    let offered = RwSignal::new(Vec::<Offered>::new());
    let goals = Memo::new(move |_| offered.with(|offered| goals(&text.get(), offered, found.get().as_ref())));
    let navigate = use_navigate();
    let go = Callback::new(move |way: Way| match way {
        Way::To(href) => {
            close(search);
            navigate(&href, Default::default());
        }
        Way::Button(kind) => {
            close(search);
            browser::lead_to(kind);
        }
        Way::Closed => {}
    });
    Effect::new(move |_| {
        let Some((dialog, _)) = wanted.get() else { return };
        // The first time the dialogs are only just being put into the page.
        request_animation_frame(move || match dialog {
            Dialog::Search => {
                let _ = text.try_set(String::new());
                let _ = found.try_set(None);
                let _ = at.try_set(0);
                let _ = offered.try_set(browser::offered());
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
                    let answer = match q.trim() {
                        "" => None,
                        _ => get_found(q).await.and_then(|text| read(&text)).ok(),
                    };
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
            // Once, also when something is typed: a search field would keep the first one for itself.
            "Escape" => close(search),
            "Enter" => match goals.with(|goals| goals.get(at.get_untracked()).map(|goal| goal.way.clone())) {
                Some(way) => go.run(way),
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
                        li id={ "goal-" (i) } role="option" aria-selected=(i == chosen) data-goal=(i)
                            aria-disabled=[(goal.way == Way::Closed).then_some("true")] {
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
                placeholder="release, digest, receipt, page, command"
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
                    if let Some(i) = browser::goal_under(&e) {
                        at.set(i);
                    }
                }
                on:click=move |e| {
                    let under = browser::goal_under(&e);
                    if let Some(way) = goals.with(|goals| goals.get(under?).map(|goal| goal.way.clone())) {
                        go.run(way);
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

fn goals(text: &str, offered: &[Offered], found: Option<&Found>) -> Vec<Goal> {
    let pages = matching(text).into_iter().map(|place| Goal {
        way: Way::To(place.href.to_owned()),
        what: "page",
        name: place.name.to_owned(),
        more: format!("g {}", place.key),
    });
    // Those that are called so come before those that only have the letters somewhere.
    let mut commands: Vec<Goal> = offered.iter().filter_map(|offered| command(text, offered)).collect();
    let begins = |goal: &Goal| goal.name.to_lowercase().starts_with(&text.trim().to_lowercase());
    commands.sort_by_key(|goal| !begins(goal));
    // Whoever has not said anything yet does not mean a command.
    let mut goals: Vec<Goal> = if text.trim().is_empty() {
        pages.chain(commands).collect()
    } else {
        commands.into_iter().chain(pages).collect()
    };
    let Some(found) = found else { return goals };
    goals.extend(found.receipt.iter().map(|receipt| Goal {
        way: Way::To(format!("/receipts/{}", receipt.index)),
        what: "receipt",
        name: say::count(receipt.index),
        more: receipt.said.clone(),
    }));
    goals.extend(found.actor.iter().map(|actor| Goal {
        way: Way::To(words::query("/receipts", &[("actor", actor)])),
        what: "somebody",
        name: actor.clone(),
        more: "their receipts".to_owned(),
    }));
    goals.extend(found.releases.iter().map(|row| Goal {
        way: Way::To(format!("/releases/{}", row.id)),
        what: "release",
        name: format!("{} {}", row.service, row.version),
        more: format!("{}, {}, {}", words::state(row).1, row.environment, row.digest.short()),
    }));
    goals
}

/// A choice leads to the button and does not press it: what is meant for the search must not move traffic.
fn command(text: &str, offered: &Offered) -> Option<Goal> {
    let (name, does) = words::command(offered.kind);
    means(text, offered.kind, name).then(|| Goal {
        way: if offered.refused.is_some() { Way::Closed } else { Way::Button(offered.kind) },
        what: "command",
        name: name.to_owned(),
        more: offered.refused.clone().unwrap_or_else(|| does.to_owned()),
    })
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
    use leptos::prelude::*;
    use wasm_bindgen::JsCast;
    use web_sys::{Element, HtmlElement};

    use super::{CommandKind, Offered};

    /// The goal that the mouse is on.
    pub(super) fn goal_under(e: &leptos::ev::MouseEvent) -> Option<usize> {
        let on: Element = e.target()?.dyn_into().ok()?;
        on.closest("[data-goal]").ok()??.get_attribute("data-goal")?.parse().ok()
    }

    /// The buttons of this page that give commands, in their order.
    pub(super) fn offered() -> Vec<Offered> {
        let Ok(found) = document().query_selector_all(".buttons > [data-key]") else { return Vec::new() };
        let all = (0..found.length()).filter_map(|i| found.get(i)?.dyn_into::<Element>().ok());
        all.filter(|part| part.closest("[hidden]").ok().flatten().is_none())
            .filter_map(|part| {
                let button = button_of(&part)?;
                let closed = button.has_attribute("disabled") || button.class_list().contains("off");
                let refused = closed.then(|| button.title());
                Some(Offered { kind: part.get_attribute("data-key")?.parse().ok()?, refused })
            })
            .collect()
    }

    /// Opens the command's dialog, or puts the focus on its button.
    pub(super) fn lead_to(kind: CommandKind) {
        let part = document().query_selector(&format!(".buttons > [data-key='{kind}']")).ok().flatten();
        let Some((part, button)) = part.and_then(|part| button_of(&part).map(|button| (part, button))) else { return };
        if part.local_name() == "details" && !part.has_attribute("open") {
            button.click();
        } else {
            let _ = button.focus();
        }
    }

    fn button_of(part: &Element) -> Option<HtmlElement> {
        part.query_selector("summary, button").ok()??.dyn_into().ok()
    }
}

/// Nothing is chosen on the server.
#[cfg(not(feature = "hydrate"))]
mod browser {
    use super::{CommandKind, Offered};

    pub(super) fn goal_under(_: &leptos::ev::MouseEvent) -> Option<usize> {
        None
    }
    pub(super) fn offered() -> Vec<Offered> {
        Vec::new()
    }
    pub(super) fn lead_to(_: CommandKind) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_pages_come_first_and_then_what_was_found() {
        let found = Found {
            receipt: Some(crate::api::find::FoundReceipt {
                index: 18_204,
                kind: model::Kind::KeyRotated,
                said: "Key rotated".to_owned(),
            }),
            actor: None,
            releases: Vec::new(),
            of: 0,
        };
        let ways = |text, offered: &[Offered], found| -> Vec<Way> {
            goals(text, offered, found).into_iter().map(|goal| goal.way).collect()
        };
        assert_eq!(ways("18204", &[], Some(&found)), [Way::To("/receipts/18204".to_owned())]);
        assert_eq!(ways("rel", &[], None)[0], Way::To("/releases".to_owned()));
        let offered = [
            Offered { kind: CommandKind::Promote, refused: Some("Not now: it is paused".to_owned()) },
            Offered { kind: CommandKind::Abort, refused: None },
        ];
        assert_eq!(ways("", &offered, None).len(), PLACES.len() + 2);
        assert_eq!(ways("", &offered, None)[0], Way::To("/".to_owned()), "a press on Enter alone gives no command");
        assert_eq!(ways("abort", &offered, Some(&found))[0], Way::Button(CommandKind::Abort));
        assert_eq!(ways("promote", &offered, None), [Way::Closed]);
    }
}
