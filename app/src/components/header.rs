//! The line on top, and the page's voice.

use leptos::prelude::*;
use leptos_router::components::A;
use maud::{Markup, html};

use super::{Palette, awaited, shown};
use crate::{
    api::{
        page::read,
        reads::{Session, SessionText},
    },
    live::{Stream, VOICE, use_live},
};

/// Name, pages, stream, who is logged in.
#[component]
pub fn Header(
    /// Who is logged in.
    session: SessionText,
) -> impl IntoView {
    let stream = use_live().stream;
    let word = move || match stream.get() {
        Stream::Off => ("off", String::new()),
        Stream::Connecting => ("connecting", "connecting".to_owned()),
        Stream::Live => ("live", "live".to_owned()),
        Stream::Reconnecting => ("reconnecting", "reconnecting".to_owned()),
        Stream::Stale(since) => ("stale", format!("stale since {}", since.clock())),
    };
    view! {
        <a class="skip" href="#main">"Skip to the content"</a>
        <header class="top">
            <b class="name">"DeliveryOS"</b>
            <nav aria-label="Pages">
                <A href="/" exact=true>"Overview"</A>
                <A href="/releases">"Releases"</A>
                <A href="/receipts">"Receipts"</A>
                <A href="/settings">"Settings"</A>
            </nav>
            <span class=move || format!("stream {}", word().0)>{move || word().1}</span>
            <div class="right">
                <Palette/>
                {awaited(move || {
                    Box::pin(async move {
                        shown(match session.0.await.and_then(|text| read(&text)) {
                            Ok(Some(session)) => me(&session),
                            _ => html! { a.me.door href="/login" { "Log in" } },
                        })
                    })
                })}
            </div>
        </header>
    }
}

/// Who is logged in, and the way out. With a token there is no session to end.
fn me(session: &Session) -> Markup {
    let Session { actor, role, form_token, .. } = session;
    html! {
        span.me title={ "role " (role) } { (actor) }
        @if !form_token.is_empty() {
            form.logout method="post" action="/logout" {
                input type="hidden" name="form_token" value=(form_token);
                button type="submit" { "Log out" }
            }
        }
    }
}

/// Says verdicts and turns once each, politely; never samples. Each is added for itself: of two that come at the same moment none takes the
/// other's place.
#[component]
pub fn LiveRegion() -> impl IntoView {
    view! { <div id=VOICE class="sr" role="log" aria-live="polite" aria-label="What happened"></div> }
}
