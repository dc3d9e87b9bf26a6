//! The line on top, and the page's voice.

use leptos::{either::Either, prelude::*};
use leptos_router::components::A;

use super::Palette;
use crate::{
    api::{ApiError, reads::Session},
    live::{Stream, use_live},
};

/// Name, pages, stream, who is logged in.
#[component]
pub fn Header(
    /// Who is logged in.
    session: Resource<Result<Option<Session>, ApiError>>,
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
            <div class="right">
                <Palette/>
                <span class=move || format!("stream {}", word().0)>{move || word().1}</span>
                <Suspense>
                    {move || Suspend::new(async move {
                        match session.await {
                            Ok(Some(s)) => Either::Left(view! { <Me session=s/> }),
                            _ => Either::Right(view! { <a class="me door" href="/login">"Log in"</a> }),
                        }
                    })}
                </Suspense>
            </div>
        </header>
    }
}

/// Who is logged in, and the way out. With a token there is no session to end.
#[component]
fn Me(session: Session) -> impl IntoView {
    let Session { actor, role, form_token, .. } = session;
    view! {
        <span class="me" title=format!("role {role}")>{actor}</span>
        {(!form_token.is_empty()).then(|| view! {
            <form method="post" action="/logout" class="logout">
                <input type="hidden" name="form_token" value=form_token/>
                <button type="submit">"Log out"</button>
            </form>
        })}
    }
}

/// Says verdicts and turns once, politely; never samples.
#[component]
pub fn LiveRegion() -> impl IntoView {
    let said = use_live().said;
    view! { <div class="sr" role="status" aria-live="polite">{move || said.get()}</div> }
}
