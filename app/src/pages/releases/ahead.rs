//! Code that is made ready while the data is on its way.
//!
//! A browser compiles a function when it is called for the first time, gives memory in small pieces, and reads the first markup of a sort slowly.
//! That takes longer than the data takes to come, so a small release is drawn meanwhile, for nobody.

use std::{cell::Cell, time::Duration};

use leptos::prelude::{document, set_timeout};

use super::{
    controls::Reader,
    page::{Address, Page},
    rooms,
};
use crate::api::reads::ReleasePage;

/// Bytes that a long release takes while it is read and drawn.
const MEMORY: usize = 4 << 20;

/// As the server answers: a release that was aborted, with a verdict and some seconds.
const SMALL: &str = include_str!("ahead.json");

thread_local! {
    static READY: Cell<bool> = const { Cell::new(false) };
}

/// Once, after what is asked for has been sent.
pub(super) fn make_ready() {
    if !READY.replace(true) {
        set_timeout(
            || {
                std::hint::black_box(Vec::<u8>::with_capacity(MEMORY));
                let unseen = document().create_element("template").ok();
                if let (Some(unseen), Some(page)) = (unseen, drawn()) {
                    unseen.set_inner_html(&page);
                }
            },
            Duration::ZERO,
        );
    }
}

/// The page that nobody sees.
fn drawn() -> Option<String> {
    let loaded: ReleasePage = serde_json::from_str(SMALL).ok()?;
    let clock = loaded.receipts.last()?.payload.time;
    let page = Page::loaded(loaded, Reader::Nobody, Address::default(), clock)?;
    Some(rooms::page(&page, &rooms::all(&page)))
}

#[cfg(test)]
#[cfg(feature = "ssr")]
mod tests {
    use super::*;

    #[test]
    fn the_small_release_is_drawn_with_all_that_one_has() {
        let page = drawn().unwrap();
        for part in [
            "aborted</span> after",
            "tl-canary",
            "tl-band",
            "tl-stable",
            "tl-weight",
            "Clocks of the abort",
            "Rollback armed",
            "✓",
            "■",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}
