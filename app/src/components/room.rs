//! Room in a page for markup that a plain function writes.
//!
//! What only shows needs no view of its own: its function writes a string, and the page puts it where it belongs. That takes a fraction of the
//! browser's code, and of the first load.

use leptos::{html, prelude::*};
use maud::Markup;

use super::Settle;

/// Text or markup that is written again when something that it was written from changes. One type for all of them: the framework makes
/// its own code for each type of function that a `Memo` is given.
pub fn written(write: impl Fn() -> String + Send + Sync + 'static) -> Memo<String> {
    fn of(write: Box<dyn Fn() -> String + Send + Sync>) -> Memo<String> {
        Memo::new(move |_| write())
    }
    of(Box::new(write))
}

/// The markup, kept up to date. The function that writes it escapes what it is given (`maud`).
///
/// When it changes, the elements that stay are kept: whoever has the focus or has selected text in it does not lose that. Children with a
/// `data-key` stay with their key.
pub fn room(markup: Memo<String>) -> AnyView {
    let room = NodeRef::<html::Div>::new();
    // Nothing when the request that the page was for is over: then nobody reads it.
    let first = markup.try_get_untracked().unwrap_or_default();
    let shown = first.clone();
    Effect::new(move |before: Option<String>| {
        let now = markup.get();
        if *before.as_ref().unwrap_or(&shown) != now
            && let Some(room) = room.get_untracked()
        {
            #[cfg(feature = "hydrate")]
            browser::put(&room, &now);
            #[cfg(not(feature = "hydrate"))]
            let _ = room;
        }
        now
    });
    view! { <div class="room" node_ref=room inner_html=first></div> }.settled()
}

/// Markup that does not change by itself.
pub fn shown(markup: Markup) -> AnyView {
    view! { <div class="room" inner_html=markup.into_string()></div> }.settled()
}

#[cfg(feature = "hydrate")]
pub(crate) use browser::put;

#[cfg(feature = "hydrate")]
mod browser {
    use wasm_bindgen::JsCast;
    use web_sys::{Element, Node};

    /// Names children that come and go.
    const KEY: &str = "data-key";

    /// Puts the markup into the room; the elements that stay are kept.
    pub(crate) fn put(room: &Element, markup: &str) {
        let Some(fresh) = room.clone_node().ok().and_then(|node| node.dyn_into::<Element>().ok()) else { return };
        fresh.set_inner_html(markup);
        align(room, &fresh);
    }

    /// Makes the children of `old` like those of `new`, which is used up.
    fn align(old: &Node, new: &Node) {
        let (mut at, mut next) = (old.first_child(), new.first_child());
        loop {
            match (at, next) {
                (None, None) => return,
                (Some(a), None) => {
                    (at, next) = (a.next_sibling(), None);
                    let _ = old.remove_child(&a);
                }
                (None, Some(n)) => {
                    (at, next) = (None, n.next_sibling());
                    let _ = old.append_child(&n);
                }
                (Some(a), Some(n)) => {
                    let (was, is) = (key(&a), key(&n));
                    if was != is && is.is_some() && !follows(&a, &is) {
                        (at, next) = (Some(a.clone()), n.next_sibling());
                        let _ = old.insert_before(&n, Some(&a));
                    } else if was != is && was.is_some() {
                        (at, next) = (a.next_sibling(), Some(n));
                        let _ = old.remove_child(&a);
                    } else {
                        (at, next) = (a.next_sibling(), n.next_sibling());
                        one(old, &a, &n);
                    }
                }
            }
        }
    }

    fn one(parent: &Node, old: &Node, new: &Node) {
        if old.is_equal_node(Some(new)) {
            // Most of a long list, told by the browser at once.
        } else if old.node_name() != new.node_name() {
            let _ = parent.replace_child(new, old);
        } else if let (Some(a), Some(b)) = (old.dyn_ref::<Element>(), new.dyn_ref::<Element>()) {
            attributes(a, b);
            align(old, new);
        } else if old.node_value() != new.node_value() {
            old.set_node_value(new.node_value().as_deref());
        }
    }

    fn attributes(old: &Element, new: &Element) {
        let names = |of: &Element| of.get_attribute_names().iter().filter_map(|n| n.as_string()).collect::<Vec<_>>();
        for name in names(new) {
            let mut value = new.get_attribute(&name);
            // What somebody opened stays open, and says so.
            if name == "aria-expanded"
                && let Some(details) = old.parent_element().filter(|parent| parent.local_name() == "details")
            {
                value = Some(details.has_attribute("open").to_string());
            }
            if old.get_attribute(&name) != value {
                let _ = old.set_attribute(&name, &value.unwrap_or_default());
            }
        }
        for name in names(old).iter().filter(|n| *n != "open" && !new.has_attribute(n)) {
            let _ = old.remove_attribute(name);
        }
    }

    fn key(node: &Node) -> Option<String> {
        node.dyn_ref::<Element>()?.get_attribute(KEY)
    }

    /// Whether a later sibling has the key.
    fn follows(node: &Node, wanted: &Option<String>) -> bool {
        std::iter::successors(node.next_sibling(), Node::next_sibling).any(|n| key(&n) == *wanted)
    }
}
