//! What a page shows instead of its content.

use leptos::prelude::*;

use super::Heading;
use crate::{api::ApiError, words::Tone};

/// A refusal says no and why; an error says that it could not be found out. They look different.
#[component]
pub fn ProblemNote(
    /// Why there is nothing to show.
    error: ApiError,
) -> impl IntoView {
    let (tone, title) = match &error {
        ApiError::NotLoggedIn => (Tone::Wait, "Not logged in"),
        ApiError::NotFound(_) => (Tone::Bad, "Not found"),
        e if e.is_refusal() => (Tone::Bad, "Refused"),
        _ => (Tone::Unknown, "Could not find out"),
    };
    let login = error == ApiError::NotLoggedIn;
    let missing = matches!(error, ApiError::NotFound(_));
    view! {
        <section class="problem" role="alert">
            <Heading><span class=format!("state {}", tone.class())>{title}</span></Heading>
            <p>{error.to_string()}</p>
            {missing.then(|| view! { <p><a class="door" href="/releases">"All releases"</a>" · "<a class="door" href="/search">"Search"</a></p> })}
            {login.then(|| view! { <p><a class="door" href="/login">"How to log in"</a></p> })}
        </section>
    }
}

/// The same in a line, where the page around it has its own heading.
#[component]
pub fn ProblemLine(
    /// Why there is nothing to show.
    error: ApiError,
) -> impl IntoView {
    let tone = if error.is_refusal() { Tone::Bad } else { Tone::Unknown };
    view! { <p class=format!("note {}", tone.class()) role="alert">{error.to_string()}</p> }
}
