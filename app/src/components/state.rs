//! States: word, shape and colour together.

use leptos::prelude::*;
use projections::ReleaseRow;

use crate::words::{self, Tone};

/// A state in a word with its shape.
#[component]
pub fn State(
    /// How it looks.
    tone: Tone,
    /// The word.
    #[prop(into)]
    word: String,
) -> impl IntoView {
    view! { <span class=format!("state {}", tone.class())>{word}</span> }
}

/// The state of a release.
#[component]
pub fn StateOf(
    /// The release.
    row: ReleaseRow,
) -> impl IntoView {
    let (tone, word) = words::state(&row);
    view! { <State tone word/> }
}
