//! Which page comes in which part of the browser's code.
//!
//! The first load has what every page needs. The code of pages is cut into *parts*: files of their own, loaded when one of their pages is
//! visited for the first time. What several parts need, and the first load does not, is in further files that come with them. `cargo xtask
//! build` does the cutting; the server names the files of the page that it answers with ([`PartsNeeded`]), so that they are fetched beside
//! the first load and not after it. The part of the first page comes in one file, its pack.
//!
//! A page is put into a part by its line in the table below. Few parts are better than many: each pair of them may share a file.
//!
//! What of the release's page needs a press comes at the first press, in the part `aside`: the receipt beside the page, checking all of its
//! receipts, recomputing a verdict. Only an address that opens a receipt loads it with the page. So do the dialogs of every page, in the part
//! `palette`. What checks a signature, a proof or a stretch of the log is in the part `check`: it comes when something is checked, which on
//! a receipt's page is at once.

use leptos::{
    prelude::*,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::LazyRoute;

#[cfg(feature = "hydrate")]
use crate::pages::range_work;
use crate::{
    components::{Settle, palette},
    pages::{
        DoraPage, OverviewPage, ReceiptPage, ReceiptsPage, ReleasePage, ReleasesPage, SearchPage, SettingsPage,
        release_aside,
    },
};

/// `part: Route = Page, function that draws it, function that loads its part;`, and after `with` what else has to be there first.
macro_rules! lazy_pages {
    ($($part:ident: $route:ident = $page:ident, $draw:ident, $load:ident $(, with $first:ident)?;)*) => {$(
        #[doc = concat!("[`", stringify!($page), "`], in the part `", stringify!($part), "`.")]
        pub struct $route;

        impl LazyRoute for $route {
            fn data() -> Self {
                Self
            }

            async fn view(_: Self) -> AnyView {
                #[cfg(feature = "ssr")]
                needed(stringify!($part));
                // Before all others: the first part comes in one file.
                if $load().await.is_err() {
                    not_loaded().await;
                }
                $($first().await;)?
                match $draw().await {
                    Ok(view) => view,
                    Err(_) => not_loaded().await,
                }
            }

            async fn preload() {
                #[cfg(feature = "ssr")]
                needed(stringify!($part));
                if $load().await.is_err() {
                    not_loaded().await;
                }
                // Here and not only in the view: what the view waits for is not taken over.
                $($first().await;)?
            }
        }

        #[wasm_split($part, wasm_split_path = ::leptos::wasm_split, preload($load), fallible)]
        fn $draw() -> Result<AnyView, SplitLoaderError> {
            Ok(view! { <$page/> }.settled())
        }
    )*};
}

lazy_pages! {
    overview: OverviewRoute = OverviewPage, draw_overview, load_overview;
    overview: ReleasesRoute = ReleasesPage, draw_releases, load_releases;
    release: ReleaseRoute = ReleasePage, draw_release, load_release, with receipt_asked_for;
    receipts: ReceiptsRoute = ReceiptsPage, draw_receipts, load_receipts;
    receipt: ReceiptRoute = ReceiptPage, draw_receipt, load_receipt, with checked_at_once;
    others: DoraRoute = DoraPage, draw_dora, load_dora;
    others: SearchRoute = SearchPage, draw_search, load_search;
    others: SettingsRoute = SettingsPage, draw_settings, load_settings;
}

/// A receipt beside the release's page, and what of the view it needs.
#[wasm_split(aside, wasm_split_path = ::leptos::wasm_split, preload(load_beside), fallible)]
fn draw_beside(asked: release_aside::Asked) -> Result<AnyView, SplitLoaderError> {
    Ok(release_aside::draw(asked))
}

/// The receipt beside a release's page. When its code does not come, the browser goes to the receipt's own page, as it does without a script.
pub(crate) async fn beside(asked: release_aside::Asked) -> AnyView {
    let page = format!("/receipts/{}", asked.index);
    match draw_beside(asked).await.ok() {
        Some(view) => view,
        None => {
            #[cfg(feature = "hydrate")]
            let _ = window().location().set_href(&page);
            let _ = page;
            std::future::pending().await
        }
    }
}

/// The dialogs of every page; see [`palette::draw`].
#[wasm_split(palette, wasm_split_path = ::leptos::wasm_split, fallible)]
fn draw_dialogs(wanted: palette::Wanted) -> Result<AnyView, SplitLoaderError> {
    Ok(palette::dialogs::draw(wanted))
}

/// The dialogs of every page. When their code does not come, the browser goes to the page `/search`, as it does without a script.
pub(crate) async fn dialogs(wanted: palette::Wanted) -> AnyView {
    match draw_dialogs(wanted).await.ok() {
        Some(view) => view,
        None => {
            #[cfg(feature = "hydrate")]
            let _ = window().location().set_href("/search");
            std::future::pending().await
        }
    }
}

/// Work whose code is in the part `aside`.
#[cfg(feature = "hydrate")]
pub(crate) type Work<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Recomputes a verdict; see [`release_aside::replayed`].
#[cfg(feature = "hydrate")]
#[wasm_split(aside, wasm_split_path = ::leptos::wasm_split, fallible)]
pub(crate) fn recompute(
    facts: serde_json::Map<String, serde_json::Value>,
) -> Result<Work<Result<String, String>>, SplitLoaderError> {
    Ok(Box::pin(release_aside::replayed(facts)))
}

/// Checks one receipt; see [`crate::verifier::check`].
#[cfg(feature = "hydrate")]
#[wasm_split(check, wasm_split_path = ::leptos::wasm_split, fallible)]
pub(crate) fn check_receipt(
    asked: crate::verifier::Asked,
) -> Result<Result<receipts::Report, String>, SplitLoaderError> {
    Ok(asked.checked())
}

/// Begins to check a stretch of the log.
#[cfg(feature = "hydrate")]
#[wasm_split(check, wasm_split_path = ::leptos::wasm_split, fallible)]
pub(crate) fn begin_range(asked: range_work::Asked) -> Result<Result<range_work::Turn, String>, SplitLoaderError> {
    Ok(range_work::Turn::begin(asked))
}

/// Goes on with it for some milliseconds.
#[cfg(feature = "hydrate")]
#[wasm_split(check, wasm_split_path = ::leptos::wasm_split, fallible)]
pub(crate) fn go_on(turn: range_work::Turn, fetched: Option<Vec<u8>>) -> Result<range_work::Turn, SplitLoaderError> {
    Ok(turn.go_on(fetched))
}

/// A receipt's own page checks it as soon as it is there: what that takes is fetched beside the page's code, which does not wait for it.
async fn checked_at_once() {
    #[cfg(feature = "ssr")]
    needed("check");
}

/// Checks receipts; see [`crate::verifier::all`].
#[cfg(feature = "hydrate")]
#[wasm_split(aside, wasm_split_path = ::leptos::wasm_split, fallible)]
pub(crate) fn check_all(run: crate::verifier::all::Run) -> Result<(), SplitLoaderError> {
    run.start();
    Ok(())
}

/// When the address opens a receipt beside the page, its code has to be there before the page is taken over.
async fn receipt_asked_for() {
    let asked = leptos_router::hooks::use_url()
        .with_untracked(|url| url.search_params().get("receipt").is_some_and(|r| !r.is_empty()));
    if asked {
        #[cfg(feature = "ssr")]
        {
            needed("aside");
            needed("check");
        }
        // Without it the page stays as it came: the links of the server's markup lead on.
        if load_beside().await.is_err() {
            not_loaded().await;
        }
    }
}

/// The parts that a page being rendered on the server needs in the browser, collected by context.
#[cfg(feature = "ssr")]
#[derive(Clone, Default)]
pub struct PartsNeeded(std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>);

#[cfg(feature = "ssr")]
impl PartsNeeded {
    /// Their names, that of the page's own part first.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.lock().map(|parts| parts.clone()).unwrap_or_default()
    }
}

#[cfg(feature = "ssr")]
fn needed(part: &'static str) {
    if let Some(needed) = use_context::<PartsNeeded>()
        && let Ok(mut parts) = needed.0.lock()
        && !parts.contains(&part)
    {
        parts.push(part);
    }
}

/// A part did not come: the line is down, or the server has been upgraded and has other parts now. On the way to another page the
/// server is asked for that page, whole; a page that has just come from the server stays as it came, which works without a script.
async fn not_loaded() -> AnyView {
    #[cfg(feature = "hydrate")]
    if let Some(url) = use_context::<ArcRwSignal<leptos_router::location::Url>>() {
        let to = url.with_untracked(|url| format!("{}{}", url.path(), leave_question_mark(url.search())));
        let location = window().location();
        let here = location.pathname().and_then(|path| Ok(path + &location.search()?)).unwrap_or_default();
        if to != here {
            let _ = location.set_href(&to);
        }
    }
    std::future::pending().await
}

/// The router's search has no question mark, the browser's has.
#[cfg(feature = "hydrate")]
fn leave_question_mark(search: &str) -> String {
    if search.is_empty() || search.starts_with('?') { search.to_owned() } else { format!("?{search}") }
}
