//! How to get in. The link itself is a route of the server.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

use crate::components::Heading;

/// Says how to get a login link.
#[component]
pub fn Login() -> impl IntoView {
    let query = use_query_map();
    let problem = move || match query.read().get("problem").as_deref() {
        Some("used") => Some("This link was used already: each is good once."),
        Some("expired") => Some("This link has expired: each is good for ten minutes."),
        Some("unknown") => Some("This link is not known here."),
        Some("unavailable") => Some("The link could not be checked. It was not used up: try again."),
        _ => None,
    };
    view! {
        <Title text="Log in"/>
        <section class="page narrow">
            <Heading>"Log in"</Heading>
            {move || problem().map(|why| view! { <p class="note bad" role="alert">{why}</p> })}
            <p>"You get in by a link that is good once, within ten minutes. The server prints one at its first start."</p>
            <p>"For another one, on the machine that it runs on:"</p>
            <pre><code>"deliveryos token link --role operator"</code></pre>
            <p class="mute">"Tools send a token: "<code>"Authorization: Bearer …"</code>", made by "<code>"deliveryos token create --role viewer|operator|admin"</code>"."</p>
        </section>
    }
}
