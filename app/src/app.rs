//! The root: what all pages share, and which page is where.

use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::{
    Lazy, SsrMode,
    components::{Route, Router, Routes},
    path,
};

use crate::{
    api::{
        page::asked_for,
        reads::{SessionText, get_session},
    },
    components::{Header, LiveRegion, Settle},
    live::provide_live,
    pages::{Login, NotFound},
    parts::{
        DoraRoute, OverviewRoute, ReceiptRoute, ReceiptsRoute, ReleaseRoute, ReleasesRoute, SearchRoute, SettingsRoute,
    },
};

/// All pages.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    provide_live();
    #[cfg(feature = "ssr")]
    provide_context(crate::api::page::Kept::default());
    let session = SessionText(asked_for(String::new, |_| get_session()));
    provide_context(session);
    // Rendered whole on the server: fragments that need a script to find their place would not be there without JavaScript.
    const WHOLE: SsrMode = SsrMode::Async;
    view! {
        <Title formatter=|title: String| if title.is_empty() { "DeliveryOS".to_owned() } else { format!("{title} · DeliveryOS") }/>
        <Router>
            {view! { <Header session/><LiveRegion/> }.settled()}
            <main id="main">
                <Routes fallback=NotFound>
                    <Route path=path!("/") view={Lazy::<OverviewRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/releases") view={Lazy::<ReleasesRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/releases/:id") view={Lazy::<ReleaseRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/receipts") view={Lazy::<ReceiptsRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/receipts/:index") view={Lazy::<ReceiptRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/dora/:metric") view={Lazy::<DoraRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/settings") view={Lazy::<SettingsRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/search") view={Lazy::<SearchRoute>::new()} ssr=WHOLE/>
                    <Route path=path!("/login") view=Login ssr=WHOLE/>
                </Routes>
            </main>
        </Router>
    }
}

/// Takes over the page that the server rendered, once the part with its code is there.
#[cfg(feature = "hydrate")]
pub async fn hydrate() {
    use crate::live::Awake;

    let Some(body) = document().body() else { return };
    let awake = Awake::default();
    let given = awake.clone();
    let page = leptos::mount::hydrate_from_async(body, move || {
        provide_context(given);
        view! { <App/> }
    });
    page.await.forget();
    awake.0.set(true);
    // For whoever watches the page from outside.
    if let Some(root) = document().document_element() {
        let _ = root.set_attribute("data-awake", "");
    }
}
