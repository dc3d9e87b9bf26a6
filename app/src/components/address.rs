//! The part of a page's state that stands in its address, so that it can be sent to somebody.

#[cfg(feature = "hydrate")]
use std::time::Duration;

use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate},
};

use crate::words;

/// Changes to the address: a name and its value, or `None` to take it out.
pub type Changes = Vec<(&'static str, Option<String>)>;

/// How long a value must rest before it is written: browsers refuse more than some changes a second.
#[cfg(feature = "hydrate")]
const REST: Duration = Duration::from_millis(300);

/// Changes the address now, as a step that "back" goes over again.
pub fn use_step() -> impl Fn(Changes) + Clone + 'static {
    let navigate = use_navigate();
    let location = use_location();
    move |changes| {
        let to = words::address(&location.pathname.get_untracked(), &location.search.get_untracked(), changes);
        navigate(&to, NavigateOptions { scroll: false, ..NavigateOptions::default() });
    }
}

/// Writes into the address what has come to rest, without a step: what is dragged, turned or played changes many times a second.
#[cfg(feature = "hydrate")]
pub fn use_rest() -> impl Fn(Changes) + Clone + 'static {
    let navigate = use_navigate();
    let location = use_location();
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    on_cleanup(move || {
        if let Some(Some(handle)) = waiting.try_get_value() {
            handle.clear();
        }
    });
    move |changes| {
        if let Some(handle) = waiting.try_get_value().flatten() {
            handle.clear();
        }
        let (navigate, location) = (navigate.clone(), location.clone());
        let write = move || {
            let to = words::address(&location.pathname.get_untracked(), &location.search.get_untracked(), changes);
            navigate(&to, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
        };
        waiting.try_set_value(set_timeout_with_handle(write, REST).ok());
    }
}
