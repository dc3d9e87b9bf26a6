//! No such page.

use leptos::prelude::*;
use leptos_meta::Title;

use crate::components::Heading;

/// Says so, with status 404.
#[component]
pub fn NotFound() -> impl IntoView {
    #[cfg(feature = "ssr")]
    if let Some(response) = use_context::<leptos_axum::ResponseOptions>() {
        response.set_status(http::StatusCode::NOT_FOUND);
    }
    view! {
        <Title text="Not found"/>
        <section class="page narrow">
            <Heading>"There is no such page"</Heading>
            <p><a class="door" href="/">"Overview"</a>", "<a class="door" href="/releases">"Releases"</a>", "<a class="door" href="/receipts">"Receipts"</a></p>
        </section>
    }
}
