//! The root: what all pages share, and which page is where.

use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::{
    SsrMode,
    components::{Route, Router, Routes},
    path,
};

use crate::{
    api::reads::get_session,
    components::{Header, LiveRegion},
    live::provide_live,
    pages::{Login, NotFound, OverviewPage, ReceiptPage, ReceiptsPage, ReleasePage, ReleasesPage},
};

/// All pages.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    provide_live();
    let session = Resource::new_blocking(|| (), |()| get_session());
    provide_context(session);
    // Rendered whole on the server: fragments that need a script to find their place would not be there without JavaScript.
    const WHOLE: SsrMode = SsrMode::Async;
    view! {
        <Title formatter=|title: String| if title.is_empty() { "DeliveryOS".to_owned() } else { format!("{title} · DeliveryOS") }/>
        <Router>
            <Header session/>
            <LiveRegion/>
            <main id="main">
                <Routes fallback=NotFound>
                    <Route path=path!("/") view=OverviewPage ssr=WHOLE/>
                    <Route path=path!("/releases") view=ReleasesPage ssr=WHOLE/>
                    <Route path=path!("/releases/:id") view=ReleasePage ssr=WHOLE/>
                    <Route path=path!("/receipts") view=ReceiptsPage ssr=WHOLE/>
                    <Route path=path!("/receipts/:index") view=ReceiptPage ssr=WHOLE/>
                    <Route path=path!("/login") view=Login ssr=WHOLE/>
                </Routes>
            </main>
        </Router>
    }
}
